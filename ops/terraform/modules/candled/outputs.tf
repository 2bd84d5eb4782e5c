output "namespace" {
  description = "Where it runs."
  value       = kubernetes_namespace_v1.candled.metadata[0].name
}

output "grpc_address" {
  description = "gRPC address inside the cluster: any ready pod."
  value       = "candled.${var.namespace}.svc:50051"
}

output "symbol_addresses" {
  description = "gRPC address inside the cluster of the pod that serves each symbol."
  value = merge([
    for shard, symbols in var.shards : {
      for symbol in symbols : symbol => "candled-${shard}.candled-shards.${var.namespace}.svc:50051"
    }
  ]...)
}

output "image" {
  description = "The image that runs."
  value       = local.image
}

output "settings" {
  description = "The daemon's settings as CANDLED_* variables."
  value       = local.settings
}

output "objects" {
  description = "Every Kubernetes object that is deployed, by kind and name."
  value       = { for manifest in local.manifests : "${manifest.kind} ${manifest.metadata.name}" => manifest }
}
