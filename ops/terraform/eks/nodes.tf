resource "aws_launch_template" "node" {
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
  for_each = local.zone

  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "${var.name}-${each.key}"
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = [aws_subnet.private[each.key].id]
  ami_type        = "BOTTLEROCKET_x86_64"
  capacity_type   = "ON_DEMAND"
  instance_types  = [var.instance_type]
  version         = aws_eks_cluster.this.version

  launch_template {
    id      = aws_launch_template.node.id
    version = aws_launch_template.node.latest_version
  }

  scaling_config {
    min_size     = 1
    desired_size = var.nodes_per_zone.desired
    max_size     = var.nodes_per_zone.max
  }

  update_config {
    max_unavailable = 1
  }

  # Nodes are not ready without a network plug-in, which in turn needs the other two.
  depends_on = [
    aws_iam_role_policy_attachment.node,
    aws_eks_addon.kube_proxy,
    aws_eks_addon.pod_identity,
    aws_eks_addon.vpc_cni,
  ]

  lifecycle {
    # An autoscaler may have changed it.
    ignore_changes = [scaling_config[0].desired_size]
  }
}
