# A cluster on this machine with candled in it. Needs Docker and the kind command, and the image built before.

locals {
  overlay = "${path.module}/../../k8s/overlays/kind"
  # The file that `kind create cluster` would take, so that both ways give the same cluster.
  cluster = yamldecode(file("${local.overlay}/cluster.yaml"))
}

resource "kind_cluster" "this" {
  name           = var.cluster_name
  wait_for_ready = true

  kind_config {
    kind        = local.cluster.kind
    api_version = local.cluster.apiVersion

    dynamic "node" {
      for_each = local.cluster.nodes
      content {
        role  = node.value.role
        image = node.value.image

        dynamic "extra_port_mappings" {
          for_each = node.value.extraPortMappings
          content {
            container_port = extra_port_mappings.value.containerPort
            host_port      = extra_port_mappings.value.hostPort
            listen_address = extra_port_mappings.value.listenAddress
          }
        }
      }
    }
  }
}

# A kind node has its own store of images and no registry to ask.
resource "terraform_data" "image" {
  count = var.load_image ? 1 : 0

  triggers_replace = [kind_cluster.this.id, var.image_version]

  provisioner "local-exec" {
    command = "kind load docker-image \"$IMAGE\" --name \"$CLUSTER\""
    environment = {
      IMAGE   = "candled:${var.image_version}"
      CLUSTER = kind_cluster.this.name
    }
  }
}

module "candled" {
  source = "../modules/candled"
  # The cluster too: what the module asks it while planning has to wait until it is there.
  depends_on = [kind_cluster.this, terraform_data.image]

  image             = "candled"
  image_version     = var.image_version
  embedded_exchange = var.embedded_exchange
  shards            = var.shards
  storage_size      = var.storage_size
  memory_limit      = "512Mi"
  more_values       = [yamlencode({ nodePort = { enabled = true } })]
}
