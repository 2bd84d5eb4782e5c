output "configure_kubectl" {
  description = "Command that points kubectl at the cluster."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${aws_eks_cluster.this.name}"
}

output "connect" {
  description = "Commands that show live candles in a terminal of a machine that reaches the cluster's API."
  value       = "kubectl --namespace candled port-forward service/candled 50051 8080 & candled watch BTCUSDT --address 127.0.0.1:50051"
}

output "symbol_addresses" {
  description = "gRPC address inside the cluster of the pod that serves each symbol."
  value       = var.deploy ? module.candled[0].symbol_addresses : {}
}

output "image_repository" {
  description = "Registry that the nodes pull from."
  value       = aws_ecr_repository.candled.repository_url
}

output "exchange_sees" {
  description = "Public addresses that the pods call the exchange from, which its request limits count."
  value       = [for address in aws_eip.nat : address.public_ip]
}
