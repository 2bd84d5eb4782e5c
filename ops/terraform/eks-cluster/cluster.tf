# EKS would make this log group itself, without an end to its keeping.
resource "aws_cloudwatch_log_group" "cluster" {
  name              = "/aws/eks/${var.name}/cluster"
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.this.arn
}

resource "aws_cloudwatch_log_group" "network" {
  name              = "/aws/vpc/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.this.arn
}

data "aws_eks_cluster_versions" "offered" {
  version_status = "STANDARD_SUPPORT"
}

locals {
  # Sorted as numbers: 1.9 comes before 1.10.
  offered = [
    for minor in sort([for v in data.aws_eks_cluster_versions.offered.cluster_versions : format("%04d", tonumber(split(".", v.cluster_version)[1]))]) :
    "1.${tonumber(minor)}"
  ]
  newest             = local.offered[length(local.offered) - 1]
  kubernetes_version = coalesce(var.kubernetes_version, terraform_data.first_version.output)
}

# The newest version on the day of the first apply. Kept in the state, so that no later apply upgrades unasked.
resource "terraform_data" "first_version" {
  input = local.newest

  lifecycle {
    ignore_changes = [input]
  }
}

check "kubernetes_is_the_newest" {
  assert {
    condition     = local.kubernetes_version == local.newest
    error_message = "EKS offers Kubernetes ${local.newest}. The cluster has ${local.kubernetes_version}: raise kubernetes_version by one minor version."
  }
}

resource "aws_eks_cluster" "this" {
  name                      = var.name
  version                   = local.kubernetes_version
  deletion_protection       = var.deletion_protection
  role_arn                  = aws_iam_role.cluster.arn
  enabled_cluster_log_types = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  # Add-ons are named below, with their rights; EKS would otherwise install some of them unmanaged.
  bootstrap_self_managed_addons = false

  vpc_config {
    subnet_ids              = [for subnet in aws_subnet.private : subnet.id]
    endpoint_private_access = true
    endpoint_public_access  = length(var.public_access_cidrs) > 0
    public_access_cidrs     = length(var.public_access_cidrs) > 0 ? var.public_access_cidrs : null
  }

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false
  }

  encryption_config {
    resources = ["secrets"]
    provider {
      key_arn = aws_kms_key.this.arn
    }
  }

  upgrade_policy {
    support_type = "STANDARD"
  }

  # All four go together: EKS refuses a cluster with some of them.
  dynamic "compute_config" {
    for_each = var.auto_mode ? [1] : []
    content {
      enabled       = true
      node_pools    = ["general-purpose", "system"]
      node_role_arn = aws_iam_role.node.arn
    }
  }

  dynamic "kubernetes_network_config" {
    for_each = var.auto_mode ? [1] : []
    content {
      elastic_load_balancing {
        enabled = true
      }
    }
  }

  dynamic "storage_config" {
    for_each = var.auto_mode ? [1] : []
    content {
      block_storage {
        enabled = true
      }
    }
  }

  lifecycle {
    precondition {
      condition     = var.kubernetes_version == null || contains(local.offered, coalesce(var.kubernetes_version, "none"))
      error_message = "EKS gives standard support to ${join(", ", local.offered)}: choose one of them."
    }
  }

  depends_on = [aws_iam_role_policy_attachment.cluster, aws_cloudwatch_log_group.cluster]
}

resource "aws_vpc_security_group_ingress_rule" "api" {
  for_each = toset(var.private_access_cidrs)

  security_group_id = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
  description       = "The cluster's API from a private network"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_eks_access_entry" "admin" {
  for_each = toset(var.admin_principal_arns)

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value
}

resource "aws_eks_access_policy_association" "admin" {
  for_each = toset(var.admin_principal_arns)

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.admin[each.value].principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}

resource "aws_eks_access_entry" "viewer" {
  for_each = toset(var.viewer_principal_arns)

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value
}

resource "aws_eks_access_policy_association" "viewer" {
  for_each = toset(var.viewer_principal_arns)

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.viewer[each.value].principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"

  access_scope {
    type       = "namespace"
    namespaces = ["candled"]
  }
}
