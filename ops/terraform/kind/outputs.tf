output "kubeconfig" {
  description = "File for kubectl: `export KUBECONFIG=$(terraform output -raw kubeconfig)`."
  value       = kind_cluster.this.kubeconfig_path
}

output "watch" {
  description = "Command that shows live candles in a terminal of this machine."
  value       = "candled watch BTCUSDT --address 127.0.0.1:50051"
}

output "chart" {
  description = "Where a browser of this machine finds charts, /readyz and /metrics."
  value       = "http://127.0.0.1:8080/"
}

output "symbol_addresses" {
  description = "gRPC address inside the cluster of the pod that serves each symbol."
  value       = module.candled.symbol_addresses
}
