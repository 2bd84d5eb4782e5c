# The one who applies, as a role or user rather than as the session of a role.
data "aws_iam_session_context" "current" {
  arn = data.aws_caller_identity.current.arn
}

resource "terraform_data" "reachable" {
  count = var.deploy ? 1 : 0

  lifecycle {
    precondition {
      condition     = length(concat(var.public_access_cidrs, var.private_access_cidrs)) > 0
      error_message = "The cluster's API will answer inside the VPC only: list the address of this machine in public_access_cidrs or, if it reaches the VPC through a private network, in private_access_cidrs; or set deploy = false to make the cluster alone."
    }
    precondition {
      condition     = contains(var.admin_principal_arns, data.aws_iam_session_context.current.issuer_arn)
      error_message = "Only administrators can deploy: add ${data.aws_iam_session_context.current.issuer_arn} to admin_principal_arns, or set deploy = false."
    }
  }
}

module "candled" {
  source = "../modules/candled"
  count  = var.deploy ? 1 : 0

  image              = aws_ecr_repository.candled.repository_url
  image_version      = var.image_version
  shards             = var.shards
  settings           = var.settings
  tls                = var.tls
  tokens             = var.tokens
  monitoring         = var.monitoring
  monitoring_labels  = var.monitoring_labels
  storage_size       = var.storage_size
  storage_class_name = yamldecode(file(local.storage_class)).metadata.name
  access_mode        = "ReadWriteOncePod"
  memory_limit       = var.memory_limit
  more_manifests     = [local.storage_class]

  depends_on = [
    terraform_data.reachable,
    terraform_data.image,
    aws_eks_access_policy_association.admin,
    aws_vpc_security_group_ingress_rule.api,
    aws_eks_addon.coredns,
    aws_eks_addon.ebs_csi,
    aws_eks_node_group.this,
    # Also on the way down: without a route the pods could not be told to stop.
    aws_route_table_association.private,
  ]
}

locals {
  storage_class = "${path.module}/../../k8s/overlays/eks/storage-class.yaml"
}
