# The version of each add-on is the one that AWS names as default for the cluster's version.

locals {
  # What Auto Mode has built in. They come before the nodes, which are not ready without a network plug-in.
  before_nodes = var.auto_mode ? {} : {
    # Off by default: without it a NetworkPolicy is accepted and does nothing.
    vpc-cni                = { service_account = "aws-node", configuration = jsonencode({ enableNetworkPolicy = "true" }) }
    kube-proxy             = { service_account = null, configuration = null }
    eks-pod-identity-agent = { service_account = null, configuration = null }
  }
  after_nodes = merge(var.auto_mode ? {} : {
    coredns            = { service_account = null }
    aws-ebs-csi-driver = { service_account = "ebs-csi-controller-sa" }
    # Reports what is wrong with a node, for its repair.
    eks-node-monitoring-agent = { service_account = null }
    }, {
    metrics-server      = { service_account = null }
    snapshot-controller = { service_account = null }
  })
}

data "aws_eks_addon_version" "default" {
  for_each = toset(concat(keys(local.before_nodes), keys(local.after_nodes)))

  addon_name         = each.value
  kubernetes_version = aws_eks_cluster.this.version
}

resource "aws_eks_addon" "before_nodes" {
  for_each = local.before_nodes

  cluster_name         = aws_eks_cluster.this.name
  addon_name           = each.key
  addon_version        = data.aws_eks_addon_version.default[each.key].version
  configuration_values = each.value.configuration

  dynamic "pod_identity_association" {
    for_each = each.value.service_account[*]
    content {
      role_arn        = aws_iam_role.pod[each.key].arn
      service_account = pod_identity_association.value
    }
  }

  depends_on = [aws_iam_role_policy_attachment.pod]
}

resource "aws_eks_addon" "after_nodes" {
  for_each = local.after_nodes

  cluster_name  = aws_eks_cluster.this.name
  addon_name    = each.key
  addon_version = data.aws_eks_addon_version.default[each.key].version

  dynamic "pod_identity_association" {
    for_each = each.value.service_account[*]
    content {
      role_arn        = aws_iam_role.pod[each.key].arn
      service_account = pod_identity_association.value
    }
  }

  depends_on = [aws_eks_node_group.this, aws_eks_addon.before_nodes, aws_iam_role_policy_attachment.pod]
}
