# What matters for safety and cost, with every provider mocked: nothing here has touched AWS.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  # As in ap-northeast-1, which has no zone b.
  mock_data "aws_availability_zones" {
    defaults = { names = ["ap-northeast-1d", "ap-northeast-1a", "ap-northeast-1c"] }
  }
  mock_data "aws_eks_cluster_versions" {
    defaults = {
      cluster_versions = [
        { cluster_version = "1.35" }, { cluster_version = "1.37" }, { cluster_version = "1.36" },
      ]
    }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
  mock_data "aws_eks_addon_version" {
    defaults = { version = "v1.0.0-eksbuild.1" }
  }
  mock_resource "aws_eks_cluster" {
    defaults = {
      endpoint              = "https://example.eks.amazonaws.com"
      certificate_authority = [{ data = "Y2E=" }]
    }
  }
  mock_resource "aws_ecr_repository" {
    defaults = { repository_url = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/candled" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:ap-northeast-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/made" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:ap-northeast-1:123456789012:log-group:made" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::candled-history-1", bucket = "candled-history-1", id = "candled-history-1" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-1", latest_version = 1 }
  }
}

variables {
  region               = "ap-northeast-1"
  admin_principal_arns = ["arn:aws:iam::123456789012:role/platform"]
  private_access_cidrs = ["10.0.4.0/24"]
  zones                = ["ap-northeast-1a", "ap-northeast-1c"]
}

run "nothing_is_open_to_the_internet_by_default" {
  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "The cluster's API answers inside the VPC only."
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.public : !subnet.map_public_ip_on_launch])
    error_message = "Nothing gets a public address by being started."
  }
  assert {
    condition     = aws_default_security_group.closed.ingress == toset([]) || length(coalesce(aws_default_security_group.closed.ingress, [])) == 0
    error_message = "The default security group lets nothing in."
  }
}

run "nodes_are_private_and_every_zone_has_one" {
  assert {
    condition     = keys(aws_eks_node_group.this) == ["ap-northeast-1a", "ap-northeast-1c"]
    error_message = "A node group in each zone."
  }
  assert {
    condition     = alltrue([for zone, group in aws_eks_node_group.this : group.subnet_ids == toset([aws_subnet.private[zone].id])])
    error_message = "Nodes are in private subnets, each group in its own zone's."
  }
  assert {
    condition     = alltrue([for table in aws_route_table.private : alltrue([for route in table.route : route.nat_gateway_id != "" && try(route.gateway_id == "" || route.gateway_id == null, true)])])
    error_message = "Private subnets leave through NAT only."
  }
  assert {
    condition     = aws_launch_template.node[0].metadata_options[0].http_tokens == "required" && aws_launch_template.node[0].metadata_options[0].http_put_response_hop_limit == 1
    error_message = "Pods cannot take the node's rights."
  }
}

run "everything_kept_is_encrypted" {
  assert {
    condition     = alltrue([for disk in aws_launch_template.node[0].block_device_mappings : disk.ebs[0].encrypted == "true"])
    error_message = "The nodes' disks are encrypted."
  }
  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].resources == toset(["secrets"])
    error_message = "Secrets are encrypted in the cluster's store."
  }
  assert {
    condition     = aws_kms_key.this.enable_key_rotation
    error_message = "The key rotates."
  }
  assert {
    condition     = aws_cloudwatch_log_group.cluster.kms_key_id == aws_kms_key.this.arn && aws_cloudwatch_log_group.network.kms_key_id == aws_kms_key.this.arn
    error_message = "Logs are encrypted."
  }
}

run "the_history_is_private_encrypted_and_restorable" {
  assert {
    condition     = aws_s3_bucket_versioning.history[0].versioning_configuration[0].status == "Enabled" && !aws_s3_bucket.history[0].force_destroy
    error_message = "Deleted objects have versions, and no destroy takes the bucket with its content."
  }
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.history[0].rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "Encrypted by S3's own key, which outlives the cluster."
  }
  assert {
    condition     = alltrue([for name in ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"] : aws_s3_bucket_public_access_block.history[0][name]])
    error_message = "Nothing in it is public."
  }
  assert {
    condition     = one(aws_s3_bucket_lifecycle_configuration.history[0].rule).noncurrent_version_expiration[0].noncurrent_days == 30
    error_message = "Versions of deleted objects go after a month."
  }
}

run "pods_have_the_least_rights_to_the_history" {
  assert {
    condition     = toset(flatten([for statement in data.aws_iam_policy_document.history[0].statement : statement.actions])) == toset(["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"])
    error_message = "List, get, put and delete: no versions, no settings of the bucket."
  }
  assert {
    condition     = data.aws_iam_policy_document.history[0].statement[0].condition != toset([]) && data.aws_iam_policy_document.history[0].statement[1].resources == toset(["arn:aws:s3:::candled-history-1/candled/*"])
    error_message = "Below one prefix."
  }
  assert {
    condition     = aws_eks_pod_identity_association.history[0].service_account == "candled" && aws_eks_pod_identity_association.history[0].namespace == "candled"
    error_message = "candled's pods take the role, and no others."
  }
  assert {
    condition     = output.history_url == "s3://candled-history-1/candled"
    error_message = "The service root gives it to the pods."
  }
}

run "no_bucket_on_request" {
  state_key = "without_bucket"
  variables {
    history_bucket = false
  }
  assert {
    condition     = length(aws_s3_bucket.history) == 0 && length(aws_iam_role.history) == 0 && output.history_url == ""
    error_message = "Neither a bucket nor a role."
  }
}

run "a_version_is_pushed_once" {
  assert {
    condition     = aws_ecr_repository.candled.image_tag_mutability == "IMMUTABLE"
    error_message = "A version cannot be pushed twice."
  }
}

run "rights_are_given_by_name" {
  assert {
    condition     = !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions && aws_eks_cluster.this.access_config[0].authentication_mode == "API"
    error_message = "Nobody becomes an administrator by having made the cluster."
  }
  assert {
    condition     = toset([for attachment in aws_iam_role_policy_attachment.node : attachment.policy_arn]) == toset(["arn:aws:iam::aws:policy/AmazonEKSWorkerNodeMinimalPolicy", "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"])
    error_message = "Nodes join the cluster and pull images, no more."
  }
  assert {
    condition     = contains(aws_eks_cluster.this.enabled_cluster_log_types, "audit")
    error_message = "What is done with the rights is written down."
  }
  assert {
    condition     = { for name, attachment in aws_iam_role_policy_attachment.pod : name => attachment.policy_arn } == { "vpc-cni" = "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy", "aws-ebs-csi-driver" = "arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy" }
    error_message = "Each add-on has the rights of its work."
  }
  assert {
    condition     = alltrue(flatten([for document in data.aws_iam_policy_document.assume : [for statement in document.statement : [for principal in statement.principals : principal.type == "Service" && length(principal.identifiers) == 1]]]))
    error_message = "A role can be taken by one service of AWS only."
  }
  assert {
    condition     = jsondecode(aws_eks_addon.before_nodes["vpc-cni"].configuration_values).enableNetworkPolicy == "true"
    error_message = "Network policies are enforced."
  }
}

run "an_open_api_is_open_to_the_listed_addresses" {
  variables {
    public_access_cidrs = ["203.0.113.7/32"]
  }
  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.7/32"])
    error_message = "Only the listed addresses reach the API."
  }
}

run "a_private_network_reaches_the_api_and_nothing_else" {
  assert {
    condition     = aws_vpc_security_group_ingress_rule.api["10.0.4.0/24"].from_port == 443 && aws_vpc_security_group_ingress_rule.api["10.0.4.0/24"].to_port == 443
    error_message = "Only the API's port is opened."
  }
}

run "one_nat_gateway_in_each_zone_on_request" {
  variables {
    nat_gateway_per_zone = true
    zones                = ["ap-northeast-1a", "ap-northeast-1c", "ap-northeast-1d"]
  }
  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(output.exchange_sees) == 3
    error_message = "Each zone leaves by itself."
  }
}

run "an_api_open_to_everybody_is_refused" {
  command = plan
  variables {
    public_access_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.public_access_cidrs]
}

run "a_cluster_without_an_administrator_is_refused" {
  command = plan
  variables {
    admin_principal_arns = []
  }
  expect_failures = [var.admin_principal_arns]
}

run "a_zone_of_another_region_is_refused" {
  command = plan
  variables {
    zones = ["ap-northeast-1a", "eu-west-1a"]
  }
  expect_failures = [var.zones]
}

run "a_viewer_that_administers_is_refused" {
  command = plan
  variables {
    viewer_principal_arns = ["arn:aws:iam::123456789012:role/platform"]
  }
  expect_failures = [var.viewer_principal_arns]
}

run "viewers_see_one_namespace" {
  variables {
    viewer_principal_arns = ["arn:aws:iam::123456789012:role/support"]
  }
  assert {
    condition     = alltrue([for association in aws_eks_access_policy_association.viewer : endswith(association.policy_arn, "/AmazonEKSViewPolicy") && association.access_scope[0].type == "namespace" && association.access_scope[0].namespaces == toset(["candled"])])
    error_message = "Who may look changes nothing, and sees candled's namespace alone."
  }
}

run "a_dead_node_is_replaced" {
  assert {
    condition     = alltrue([for group in aws_eks_node_group.this : group.node_repair_config[0].enabled])
    error_message = "Pods of a StatefulSet stay on a dead node until it is replaced or tainted."
  }
  assert {
    condition     = contains(keys(aws_eks_addon.after_nodes), "eks-node-monitoring-agent")
    error_message = "The repair acts on what the agent reports."
  }
}

run "a_changed_number_of_nodes_takes_effect" {
  variables {
    nodes_per_zone = 3
  }
  assert {
    condition     = alltrue([for group in aws_eks_node_group.this : group.scaling_config[0].desired_size == 3 && group.scaling_config[0].min_size == 3])
    error_message = "The number of the variable is what there is, also after the first apply."
  }
}

run "zones_are_those_of_the_region_and_to_be_named" {
  variables {
    zones = []
  }
  assert {
    condition     = keys(aws_eks_node_group.this) == ["ap-northeast-1a", "ap-northeast-1c"] && output.zones == tolist(["ap-northeast-1a", "ap-northeast-1c"])
    error_message = "The first two that AWS offers, not the region's a and b."
  }
  expect_failures = [check.zones_are_named]
}

run "zones_that_the_region_does_not_have_are_refused" {
  command = plan
  variables {
    zones = ["ap-northeast-1a", "ap-northeast-1b"]
  }
  expect_failures = [aws_vpc.this]
}

run "a_cluster_begins_with_the_newest_version" {
  # A state of its own: the version is that of the first apply.
  state_key = "first"
  assert {
    condition     = aws_eks_cluster.this.version == "1.37"
    error_message = "The newest version that EKS offers, by number."
  }
}

run "a_newer_version_upgrades_nothing" {
  state_key = "first"
  override_data {
    target = data.aws_eks_cluster_versions.offered
    values = { cluster_versions = [{ cluster_version = "1.38" }, { cluster_version = "1.37" }] }
  }
  assert {
    condition     = aws_eks_cluster.this.version == "1.37"
    error_message = "An upgrade is asked for by kubernetes_version."
  }
  expect_failures = [check.kubernetes_is_the_newest]
}

run "an_older_version_is_warned_of" {
  command = plan
  variables {
    kubernetes_version = "1.36"
  }
  expect_failures = [check.kubernetes_is_the_newest]
}

run "a_version_that_is_not_offered_is_refused" {
  command = plan
  variables {
    kubernetes_version = "1.34"
  }
  expect_failures = [aws_eks_cluster.this, check.kubernetes_is_the_newest]
}

run "graviton_on_request" {
  variables {
    architecture = "arm64"
  }
  assert {
    condition     = alltrue([for group in aws_eks_node_group.this : group.ami_type == "BOTTLEROCKET_ARM_64" && one(group.instance_types) == "m7g.large"]) && output.architecture == "arm64"
    error_message = "Nodes, their image and candled's are of one architecture."
  }
}

run "types_of_another_architecture_are_refused" {
  command = plan
  variables {
    instance_types = ["m7i.large", "m7g.large"]
  }
  expect_failures = [var.instance_types]
}

run "types_with_a_flexible_share_of_cpu_are_x86" {
  command = plan
  variables {
    instance_types = ["m7i-flex.large", "g6.xlarge"]
  }
}

run "spot_on_request" {
  variables {
    spot           = true
    instance_types = ["m7i.large", "m7a.large", "m6i.large"]
  }
  assert {
    condition     = alltrue([for group in aws_eks_node_group.this : group.capacity_type == "SPOT" && length(group.instance_types) == 3])
    error_message = "Several types, so that one that runs out does not matter."
  }
}

run "auto_mode_brings_nodes_and_drivers_itself" {
  variables {
    auto_mode = true
  }
  assert {
    condition     = length(aws_eks_node_group.this) == 0 && keys(aws_eks_addon.after_nodes) == ["metrics-server", "snapshot-controller"]
    error_message = "No node group and no add-on that Auto Mode has built in."
  }
  assert {
    condition     = aws_eks_cluster.this.compute_config[0].enabled && aws_eks_cluster.this.storage_config[0].block_storage[0].enabled && aws_eks_cluster.this.kubernetes_network_config[0].elastic_load_balancing[0].enabled
    error_message = "EKS refuses a cluster with a part of it."
  }
  assert {
    condition     = length(aws_iam_role_policy_attachment.cluster) == 5 && output.storage_driver == "ebs.csi.eks.amazonaws.com"
    error_message = "The cluster's role may do what Auto Mode does."
  }
}

run "a_cluster_is_not_deleted_by_mistake" {
  assert {
    condition     = aws_eks_cluster.this.deletion_protection
    error_message = "Whoever means it says so first."
  }
}

run "snapshots_have_a_controller" {
  assert {
    condition     = contains(keys(aws_eks_addon.after_nodes), "snapshot-controller") && contains(keys(aws_eks_addon.after_nodes), "metrics-server")
    error_message = "The add-ons that operations need are there."
  }
}
