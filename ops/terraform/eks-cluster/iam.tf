# Each role can be taken by one service and does one thing. candled's own pods may keep the
# history in its bucket (history.tf), and call no other AWS API.

data "aws_iam_policy_document" "assume" {
  for_each = {
    cluster  = { service = "eks.amazonaws.com", actions = var.auto_mode ? ["sts:AssumeRole", "sts:TagSession"] : ["sts:AssumeRole"] }
    node     = { service = "ec2.amazonaws.com", actions = ["sts:AssumeRole"] }
    pod      = { service = "pods.eks.amazonaws.com", actions = ["sts:AssumeRole", "sts:TagSession"] }
    flow_log = { service = "vpc-flow-logs.amazonaws.com", actions = ["sts:AssumeRole"] }
  }

  statement {
    actions = each.value.actions

    principals {
      type        = "Service"
      identifiers = [each.value.service]
    }
  }
}

locals {
  managed = "arn:${local.partition}:iam::aws:policy"
}

resource "aws_iam_role" "cluster" {
  name_prefix        = "${var.name}-cluster-"
  assume_role_policy = data.aws_iam_policy_document.assume["cluster"].json
}

resource "aws_iam_role_policy_attachment" "cluster" {
  for_each = toset(concat(["AmazonEKSClusterPolicy"], var.auto_mode ? [
    "AmazonEKSBlockStoragePolicy", "AmazonEKSComputePolicy", "AmazonEKSLoadBalancingPolicy", "AmazonEKSNetworkingPolicy",
  ] : []))

  role       = aws_iam_role.cluster.name
  policy_arn = "${local.managed}/${each.value}"
}

resource "aws_iam_role" "node" {
  name_prefix        = "${var.name}-node-"
  assume_role_policy = data.aws_iam_policy_document.assume["node"].json
}

# Join the cluster and pull images, no more: the network plug-in has a role of its own.
resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset(["AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"])

  role       = aws_iam_role.node.name
  policy_arn = "${local.managed}/${each.value}"
}

locals {
  rights_of_pods = var.auto_mode ? {} : {
    vpc-cni            = "AmazonEKS_CNI_Policy"
    aws-ebs-csi-driver = "service-role/AmazonEBSCSIDriverPolicy"
  }
}

resource "aws_iam_role" "pod" {
  for_each = toset(keys(local.rights_of_pods))

  name_prefix        = "${var.name}-${each.value}-"
  assume_role_policy = data.aws_iam_policy_document.assume["pod"].json
}

resource "aws_iam_role_policy_attachment" "pod" {
  for_each = local.rights_of_pods

  role       = aws_iam_role.pod[each.key].name
  policy_arn = "${local.managed}/${each.value}"
}

resource "aws_iam_role" "flow_log" {
  name_prefix        = "${var.name}-flow-log-"
  assume_role_policy = data.aws_iam_policy_document.assume["flow_log"].json
}

data "aws_iam_policy_document" "flow_log" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = ["${aws_cloudwatch_log_group.network.arn}:*"]
  }
}

resource "aws_iam_role_policy" "flow_log" {
  name   = "write-flow-logs"
  role   = aws_iam_role.flow_log.id
  policy = data.aws_iam_policy_document.flow_log.json
}
