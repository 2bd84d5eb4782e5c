output "connect" {
  description = "Commands that show live candles in a terminal of a machine that reaches the cluster's API."
  value       = "${local.cluster.configure_kubectl} && kubectl --namespace ${module.candled.namespace} port-forward service/candled 50051 8080 & candled watch --address 127.0.0.1:50051"
}

output "symbol_addresses" {
  description = "gRPC address inside the cluster of the pod that serves each symbol."
  value       = module.candled.symbol_addresses
}

output "image" {
  description = "The image that runs."
  value       = module.candled.image
}
