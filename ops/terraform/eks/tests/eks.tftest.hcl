# What matters for safety and cost, with every provider mocked: nothing here has touched AWS.

mock_provider "helm" {}
mock_provider "kubernetes" {}
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012", arn = "arn:aws:sts::123456789012:assumed-role/platform/me" }
  }
  mock_data "aws_iam_session_context" {
    defaults = { issuer_arn = "arn:aws:iam::123456789012:role/platform" }
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
    defaults = { repository_url = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/candled" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/made" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:made" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-1", latest_version = 1 }
  }
}

variables {
  region               = "eu-central-1"
  admin_principal_arns = ["arn:aws:iam::123456789012:role/platform"]
  private_access_cidrs = ["10.0.4.0/24"]
  push_image           = false
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
  assert {
    condition     = alltrue([for name, object in module.candled[0].objects : try(object.spec.type, "ClusterIP") == "ClusterIP" if startswith(name, "Service ")])
    error_message = "No service has an address outside the cluster."
  }
}

run "nodes_are_private_and_every_zone_has_one" {
  assert {
    condition     = keys(aws_eks_node_group.this) == ["eu-central-1a", "eu-central-1b"]
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
    condition     = aws_launch_template.node.metadata_options[0].http_tokens == "required" && aws_launch_template.node.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "Pods cannot take the node's rights."
  }
}

run "everything_kept_is_encrypted" {
  assert {
    condition     = alltrue([for disk in aws_launch_template.node.block_device_mappings : disk.ebs[0].encrypted == "true"])
    error_message = "The nodes' disks are encrypted."
  }
  assert {
    condition     = module.candled[0].objects["StorageClass candled-gp3"].parameters.encrypted == "true"
    error_message = "The histories' volumes are encrypted."
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

run "the_history_has_one_writer_and_outlives_its_claim" {
  assert {
    condition     = one(module.candled[0].objects["StatefulSet candled"].spec.volumeClaimTemplates).spec.accessModes == ["ReadWriteOncePod"]
    error_message = "One pod in the whole cluster holds a volume."
  }
  assert {
    condition     = one(module.candled[0].objects["StatefulSet candled"].spec.volumeClaimTemplates).spec.storageClassName == "candled-gp3"
    error_message = "The claim takes the class that is made here."
  }
  assert {
    condition     = one(module.candled[0].objects["StatefulSet candled"].spec.volumeClaimTemplates).spec.resources.requests.storage == "20Gi"
    error_message = "The claim has the size of the variable."
  }
  assert {
    condition     = module.candled[0].objects["StorageClass candled-gp3"].reclaimPolicy == "Retain"
    error_message = "A deleted claim leaves its volume."
  }
}

run "the_image_is_one_version_of_this_registry" {
  assert {
    condition     = module.candled[0].image == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/candled:0.1.0"
    error_message = "Pods run the image of this registry."
  }
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
    condition     = { for name, attachment in aws_iam_role_policy_attachment.pod : name => attachment.policy_arn } == { "vpc-cni" = "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy", "ebs-csi" = "arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy" }
    error_message = "Each add-on has the rights of its work."
  }
  assert {
    condition     = alltrue(flatten([for document in data.aws_iam_policy_document.assume : [for statement in document.statement : [for principal in statement.principals : principal.type == "Service" && length(principal.identifiers) == 1]]]))
    error_message = "A role can be taken by one service of AWS only."
  }
  assert {
    condition     = jsondecode(aws_eks_addon.vpc_cni.configuration_values).enableNetworkPolicy == "true"
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

run "the_cluster_alone" {
  variables {
    deploy               = false
    private_access_cidrs = []
  }
  assert {
    condition     = length(module.candled) == 0 && output.symbol_addresses == {}
    error_message = "Nothing is deployed."
  }
}

run "one_nat_gateway_in_each_zone_on_request" {
  variables {
    nat_gateway_per_zone = true
    zones                = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  }
  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(output.exchange_sees) == 3
    error_message = "Each zone leaves by itself."
  }
}

run "deploying_to_an_api_that_is_out_of_reach_is_refused" {
  command = plan
  variables {
    private_access_cidrs = []
  }
  expect_failures = [terraform_data.reachable]
}

run "deploying_without_being_an_administrator_is_refused" {
  command = plan
  variables {
    admin_principal_arns = ["arn:aws:iam::123456789012:role/other"]
  }
  expect_failures = [terraform_data.reachable]
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
    zones = ["eu-central-1a", "eu-west-1a"]
  }
  expect_failures = [var.zones]
}

run "nodes_that_cannot_run_the_image_are_refused" {
  command = plan
  variables {
    instance_type = "m7g.large"
  }
  expect_failures = [var.instance_type]
}

run "nodes_with_a_flexible_share_of_cpu_are_allowed" {
  command = plan
  variables {
    instance_type = "m7i-flex.large"
  }
}

run "a_viewer_that_administers_is_refused" {
  command = plan
  variables {
    viewer_principal_arns = ["arn:aws:iam::123456789012:role/platform"]
  }
  expect_failures = [var.viewer_principal_arns]
}

run "rules_are_deployed_where_an_operator_reads_them" {
  variables {
    monitoring = true
  }
  assert {
    condition     = contains(keys(module.candled[0].objects), "PrometheusRule candled")
    error_message = "The alert rules are deployed."
  }
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
