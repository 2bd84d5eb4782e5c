output "namespace" {
  description = "Where it runs."
  value       = kubernetes_namespace_v1.candled.metadata[0].name
}

output "grpc_address" {
  description = "gRPC address inside the cluster: any ready pod. In mode cluster, candled-edges in place of candled names all edges, for clients that choose among them."
  value       = "candled.${var.namespace}.svc:50051"
}

output "symbol_addresses" {
  description = "gRPC address inside the cluster of the pod that serves each symbol; in mode cluster, every edge serves all."
  value = merge([
    for shard, symbols in var.shards : {
      for symbol in symbols : symbol => local.cluster ? "candled.${var.namespace}.svc:50051" : "candled-${shard}.candled-shards.${var.namespace}.svc:50051"
    }
  ]...)
}

output "image" {
  description = "The image that runs."
  value       = local.image
}

output "values" {
  description = "Values that the chart gets, without `more_values`."
  value       = local.values
}
