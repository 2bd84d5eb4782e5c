# Auto Mode makes its own nodes, add-ons and repairs instead of all this.

resource "aws_launch_template" "node" {
  count = var.auto_mode ? 0 : 1

  name_prefix            = "${var.name}-node-"
  update_default_version = true

  # Bottlerocket keeps its system on the first disk and images and pods' scratch space on the second.
  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_type           = "gp3"
      volume_size           = 4
      encrypted             = true
      delete_on_termination = true
    }
  }

  block_device_mappings {
    device_name = "/dev/xvdb"
    ebs {
      volume_type           = "gp3"
      volume_size           = 30
      encrypted             = true
      delete_on_termination = true
    }
  }

  # One hop: pods cannot ask the metadata service for the node's own rights.
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.name}-node" }
  }
}

# A group for each zone: a pod whose volume is there always finds a node there.
resource "aws_eks_node_group" "this" {
  for_each = var.auto_mode ? {} : local.zone

  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "${var.name}-${each.key}"
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = [aws_subnet.private[each.key].id]
  ami_type        = var.architecture == "arm64" ? "BOTTLEROCKET_ARM_64" : "BOTTLEROCKET_x86_64"
  capacity_type   = var.spot ? "SPOT" : "ON_DEMAND"
  instance_types  = length(var.instance_types) > 0 ? var.instance_types : [var.architecture == "arm64" ? "m7g.large" : "m7i.large"]
  version         = aws_eks_cluster.this.version

  launch_template {
    id      = aws_launch_template.node[0].id
    version = aws_launch_template.node[0].latest_version
  }

  # No autoscaler: the number of pods is that of the shards. What is written here is what there is. One more may be
  # there for a while, when EKS replaces a node.
  scaling_config {
    min_size     = var.nodes_per_zone
    desired_size = var.nodes_per_zone
    max_size     = var.nodes_per_zone + 1
  }

  # A node that has not been ready for 30 minutes is replaced. Until then a pod of a StatefulSet stays where it was:
  # docs/operations.md says how to be faster by hand.
  node_repair_config {
    enabled = true
  }

  update_config {
    max_unavailable = 1
  }

  # Nodes are not ready without a network plug-in, which in turn needs the other two.
  depends_on = [
    aws_iam_role_policy_attachment.node,
    aws_eks_addon.before_nodes,
  ]
}
