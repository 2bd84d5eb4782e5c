# What ../eks-service reads from the state, and what people ask for.

output "cluster_name" {
  description = "Name of the cluster."
  value       = aws_eks_cluster.this.name
}

output "region" {
  description = "Region of the cluster."
  value       = var.region
}

output "endpoint" {
  description = "Address of the cluster's API."
  value       = aws_eks_cluster.this.endpoint
}

output "certificate_authority" {
  description = "Certificate of the cluster's API, in base64."
  value       = aws_eks_cluster.this.certificate_authority[0].data
}

output "kubernetes_version" {
  description = "Kubernetes version of the cluster."
  value       = aws_eks_cluster.this.version
}

output "architecture" {
  description = "Architecture of the nodes: what the image is built for."
  value       = var.auto_mode ? "amd64" : var.architecture
}

output "auto_mode" {
  description = "Whether EKS Auto Mode runs the nodes."
  value       = var.auto_mode
}

output "storage_driver" {
  description = "Driver of the volumes."
  value       = var.auto_mode ? "ebs.csi.eks.amazonaws.com" : "ebs.csi.aws.com"
}

output "image_repository" {
  description = "Registry that the nodes pull from."
  value       = aws_ecr_repository.candled.repository_url
}

output "history_url" {
  description = "Where the history is copied to; empty without a bucket."
  value       = var.history_bucket ? "s3://${aws_s3_bucket.history[0].bucket}/${local.history_prefix}" : ""
}

output "zones" {
  description = "Zones of the cluster. Write them into zones of a cluster that is meant to last."
  value       = local.zones
}

output "exchange_sees" {
  description = "Public addresses that the pods call the exchange from, which its request limits count."
  value       = [for address in aws_eip.nat : address.public_ip]
}

output "configure_kubectl" {
  description = "Command that points kubectl at the cluster."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${aws_eks_cluster.this.name}"
}
