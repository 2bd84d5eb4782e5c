# candled in the cluster that ../eks-cluster made: a plan of its own, so that a change of the service cannot touch the
# cluster, and so that a plan can look at what runs.

data "terraform_remote_state" "cluster" {
  backend = "s3"
  config  = var.cluster_state
}

locals {
  cluster = data.terraform_remote_state.cluster.outputs
  more = {
    # With Auto Mode the driver has another name, and a class of one driver means nothing to the other.
    storageClass = { create = true, provisioner = local.cluster.storage_driver }
    backup = {
      enabled       = var.backup_schedule != "" && var.mode == "single"
      schedule      = coalesce(var.backup_schedule, "0 0 * * *")
      keep          = var.backups_kept
      snapshotClass = { create = true, driver = local.cluster.storage_driver }
    }
  }
  # Each shard has a prefix of its own; one alone has that of the first, so that more can be added.
  history_url = !var.history || var.mode != "single" || local.cluster.history_url == "" ? "" : (
    "${local.cluster.history_url}/${length(var.shards) > 1 ? "{shard}" : "0"}"
  )
  push = var.push_image ? { (var.image_version) = local.cluster.image_repository } : {}
}

# Off by default: a pipeline builds, scans, signs and pushes an image. This is for a first trial.
resource "terraform_data" "image" {
  for_each = local.push

  triggers_replace = [each.value, each.key]

  provisioner "local-exec" {
    command = "${path.module}/../../container/push"
    environment = {
      REPOSITORY = each.value
      VERSION    = each.key
      REGION     = local.cluster.region
      PLATFORM   = "linux/${local.cluster.architecture}"
    }
  }
}

module "candled" {
  source     = "../modules/candled"
  depends_on = [terraform_data.image]

  image             = coalesce(var.image, local.cluster.image_repository)
  image_version     = var.image_version
  mode              = var.mode
  edges             = var.edges
  bus               = var.bus
  exchange          = var.exchange
  shards            = var.shards
  settings          = var.settings
  tls               = var.tls
  tokens            = var.tokens
  monitoring        = var.monitoring
  monitoring_labels = var.monitoring_labels
  history_url       = local.history_url
  pod_identity      = local.history_url != ""
  storage_size      = var.storage_size
  access_mode       = "ReadWriteOncePod"
  memory_limit      = var.memory_limit
  more_values       = concat([yamlencode(local.more)], var.more_values)
}

# Auto Mode runs the network policy agent on every node, and enforces nothing until this says so.
resource "kubernetes_config_map_v1" "network_policy" {
  count = local.cluster.auto_mode ? 1 : 0

  metadata {
    name      = "amazon-vpc-cni"
    namespace = "kube-system"
  }
  data = { enable-network-policy-controller = "true" }
}
