# One user of the chart in ops/helm/candled: the namespace, a release, and what only a plan can check.

locals {
  digest = startswith(var.image_version, "sha256:")
  image  = "${var.image}${local.digest ? "@" : ":"}${var.image_version}"
  memory = tonumber(trimsuffix(var.memory_limit, "Mi"))

  cluster   = var.mode == "cluster"
  resources = { requests = { memory = "${floor(local.memory / 2)}Mi" }, limits = { memory = var.memory_limit } }

  # The claims that a StatefulSet has, and that no release can change: the daemon's, or those of the servers of the bus.
  claims_of = local.cluster ? "candled-nats" : "candled"
  size      = local.cluster ? var.bus.storage_size : var.storage_size

  values = {
    image = {
      repository = var.image
      tag        = local.digest ? "" : var.image_version
      digest     = local.digest ? var.image_version : ""
    }
    mode                = var.mode
    exchange            = var.exchange
    shards              = var.shards
    restWeightPerMinute = var.rest_weight_per_minute
    settings            = var.settings
    history             = { url = var.history_url, endpoint = var.history_endpoint }
    networkPolicy       = { podIdentity = var.pod_identity }
    storage             = { size = var.storage_size, className = var.storage_class_name, accessMode = var.access_mode }
    resources           = local.resources
    ingesters           = { perShard = var.ingesters_per_shard }
    edges               = { replicas = { min = var.edges.min, max = var.edges.max }, streams = var.edges.streams, resources = local.resources }
    bus                 = { urls = var.bus.urls, peers = var.bus.peers, replicas = var.bus.replicas, login = var.bus.login }
    nats                = { storage = { size = var.bus.storage_size, className = var.storage_class_name } }
    tls                 = { enabled = var.tls }
    tokens              = { enabled = var.tokens }
    monitoring          = { enabled = var.monitoring, labels = var.monitoring_labels }
    embeddedExchange    = { enabled = var.embedded_exchange }
  }
}

resource "kubernetes_namespace_v1" "candled" {
  metadata {
    name = var.namespace
    labels = {
      "app.kubernetes.io/name" = "candled"
      # The strictest level that Kubernetes defines: a pod that asks for more is refused.
      "pod-security.kubernetes.io/enforce" = "restricted"
      "pod-security.kubernetes.io/warn"    = "restricted"
    }
  }
}

# The StatefulSet of the release before, if there is one. A list, so that a first plan finds nothing and no error.
data "kubernetes_resources" "deployed" {
  api_version    = "apps/v1"
  kind           = "StatefulSet"
  namespace      = var.namespace
  field_selector = "metadata.name=${local.claims_of}"
}

locals {
  deployed_sizes = distinct([
    for set in data.kubernetes_resources.deployed.objects : set.spec.volumeClaimTemplates[0].spec.resources.requests.storage
  ])
}

resource "helm_release" "candled" {
  name      = "candled"
  namespace = kubernetes_namespace_v1.candled.metadata[0].name
  chart     = "${path.module}/../../../helm/candled"
  values    = concat([yamlencode(local.values)], var.more_values)

  # Ready means that the probes say so. What does not become ready is rolled back to the release before.
  wait            = true
  atomic          = true
  cleanup_on_fail = true
  timeout         = var.timeout_seconds
  max_history     = 10

  lifecycle {
    precondition {
      condition     = alltrue([for size in local.deployed_sizes : size == local.size])
      error_message = "The claims have ${join(", ", local.deployed_sizes)}, and Kubernetes does not change the claims of a StatefulSet to ${local.size}: follow \"Make the volume larger\" in docs/operations.md, which ends with this apply."
    }
  }
}

check "tokens_are_not_sent_in_clear" {
  assert {
    condition     = var.tls || !var.tokens
    error_message = "Clients would send their tokens in clear: set tls = true too, unless a gateway or a mesh encrypts."
  }
}
