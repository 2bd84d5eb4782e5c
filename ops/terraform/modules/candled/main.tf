# The objects are those of ops/k8s, read here and changed only where a variable says so. They go to the cluster through a
# chart that holds nothing itself: unlike kubernetes_manifest it needs no cluster while planning, so that one plan and one
# apply make the cluster and what runs in it.

locals {
  k8s        = "${path.module}/../../../k8s"
  base       = [for file in yamldecode(file("${local.k8s}/base/kustomization.yaml")).resources : "${local.k8s}/base/${file}"]
  exchange   = var.embedded_exchange ? ["${local.k8s}/components/embedded-exchange/exchange.yaml"] : []
  monitoring = var.monitoring ? [for name in ["pod-monitor.yaml", "rules.yaml"] : "${local.k8s}/components/monitoring/${name}"] : []
  files      = concat(local.base, local.exchange, local.monitoring, var.more_manifests)
  documents  = flatten([for file in local.files : [for text in split("\n---\n", file(file)) : yamldecode(text)]])
  namespaces = [for document in local.documents : document if document.kind == "Namespace"]
  unchanged  = [for document in local.documents : document if !contains(["Namespace", "StatefulSet", "Deployment", "PodMonitor", "PrometheusRule"], document.kind)]

  image = "${var.image}${startswith(var.image_version, "sha256:") ? "@" : ":"}${var.image_version}"

  # Settings, as kustomize reads them: lines of NAME=value.
  sharded = length(var.shards) > 1
  components = [
    for name, wanted in { embedded-exchange = var.embedded_exchange, shards = local.sharded, tls = var.tls, tokens = var.tokens } :
    yamldecode(file("${local.k8s}/components/${name}/kustomization.yaml")) if wanted
  ]
  setting_lines = concat(
    split("\n", file("${local.k8s}/base/candled.env")),
    flatten([for component in local.components : component.configMapGenerator[0].literals]),
  )
  manifest_settings = {
    for line in local.setting_lines : regex("^([A-Z_]+)=", line)[0] => regex("^[A-Z_]+=(.*)$", line)[0]...
    if can(regex("^[A-Z_]+=", line))
  }
  settings = merge(
    { for name, values in local.manifest_settings : name => values[length(values) - 1] },
    local.sharded ? { CANDLED_SHARDS = join(";", [for symbols in var.shards : join(",", symbols)]) } : {},
    {
      CANDLED_SYMBOLS                = join(",", flatten(var.shards))
      CANDLED_REST_WEIGHT_PER_MINUTE = tostring(floor(var.rest_weight_per_minute / length(var.shards)))
    },
    var.settings,
  )
  # A changed setting makes a new name, and so rolls the pods, as kustomize does it.
  config_name = "candled-${substr(sha256(jsonencode(local.settings)), 0, 10)}"
  config_map = {
    apiVersion = "v1"
    kind       = "ConfigMap"
    metadata   = { name = local.config_name, labels = { "app.kubernetes.io/name" = "candled" } }
    data       = local.settings
  }

  # What the components' patches do to the StatefulSet: add to lists, or replace the readiness probe. The number of
  # replicas is the shards'.
  patches   = flatten([for component in local.components : try(component.patches, [])])
  changes   = flatten([for patch in local.patches : yamldecode(patch.patch) if patch.target.kind == "StatefulSet"])
  variables = [for change in local.changes : change.value if endswith(change.path, "/env/-")]
  mounts    = [for change in local.changes : change.value if endswith(change.path, "/volumeMounts/-")]
  volumes   = [for change in local.changes : change.value if endswith(change.path, "/volumes/-")]
  probes    = [for change in local.changes : change.value if endswith(change.path, "/readinessProbe")]
  memory    = tonumber(trimsuffix(var.memory_limit, "Mi"))

  stateful_sets = [
    for set in local.documents : merge(set, {
      spec = merge(set.spec, {
        replicas = length(var.shards)
        template = merge(set.spec.template, {
          spec = merge(set.spec.template.spec, {
            volumes = concat(set.spec.template.spec.volumes, local.volumes)
            containers = [
              for container in set.spec.template.spec.containers : merge(container, {
                image          = local.image
                env            = concat(container.env, local.variables)
                envFrom        = [{ configMapRef = { name = local.config_name } }]
                volumeMounts   = concat(container.volumeMounts, local.mounts)
                readinessProbe = concat([container.readinessProbe], local.probes)[length(local.probes)]
                resources = merge(container.resources, {
                  requests = merge(container.resources.requests, { memory = "${floor(local.memory / 2)}Mi" })
                  limits   = merge(container.resources.limits, { memory = var.memory_limit })
                })
              })
            ]
          })
        })
        volumeClaimTemplates = [
          for claim in set.spec.volumeClaimTemplates : merge(claim, {
            spec = merge(
              claim.spec,
              { accessModes = [var.access_mode], resources = { requests = { storage = var.storage_size } } },
              var.storage_class_name == null ? {} : { storageClassName = var.storage_class_name },
            )
          })
        ]
      })
    }) if set.kind == "StatefulSet"
  ]

  deployments = [
    for deployment in local.documents : merge(deployment, {
      spec = merge(deployment.spec, {
        template = merge(deployment.spec.template, {
          spec = merge(deployment.spec.template.spec, {
            containers = [for container in deployment.spec.template.spec.containers : merge(container, { image = local.image })]
          })
        })
      })
    }) if deployment.kind == "Deployment"
  ]

  # The monitoring component: its objects name no namespace but the release's, and with tokens Prometheus sends one.
  authorizations = [
    for change in flatten([for patch in local.patches : yamldecode(patch.patch) if patch.target.kind == "PodMonitor"]) :
    { authorization = change.value }
  ]
  monitors = [
    for document in local.documents : {
      apiVersion = document.apiVersion
      kind       = document.kind
      metadata   = { name = document.metadata.name, labels = merge(document.metadata.labels, var.monitoring_labels) }
      spec = merge(document.spec, document.kind != "PodMonitor" ? {} : {
        podMetricsEndpoints = [for endpoint in document.spec.podMetricsEndpoints : merge(concat([endpoint], local.authorizations)...)]
      })
    } if contains(["PodMonitor", "PrometheusRule"], document.kind)
  ]
  dashboards = [
    for map in yamldecode(file("${local.k8s}/components/monitoring/kustomization.yaml")).configMapGenerator : {
      apiVersion = "v1"
      kind       = "ConfigMap"
      metadata   = { name = map.name, labels = map.options.labels }
      data       = { for name in map.files : name => file("${local.k8s}/components/monitoring/${name}") }
    } if var.monitoring
  ]

  # Services and accounts come first, then what needs them: the order in which Helm applies kinds sees to that.
  manifests = concat(
    local.unchanged, [local.config_map], local.dashboards, local.stateful_sets, local.deployments, local.monitors,
  )
}

resource "kubernetes_namespace_v1" "candled" {
  metadata {
    name   = var.namespace
    labels = local.namespaces[0].metadata.labels
  }
}

resource "helm_release" "candled" {
  name      = "candled"
  namespace = kubernetes_namespace_v1.candled.metadata[0].name
  chart     = "${path.module}/chart"
  values    = [yamlencode({ manifests = local.manifests })]

  # Ready means that the probes say so. What does not become ready is rolled back to the release before.
  wait            = true
  atomic          = true
  cleanup_on_fail = true
  timeout         = var.timeout_seconds
  max_history     = 10
}

check "tokens_are_not_sent_in_clear" {
  assert {
    condition     = var.tls || !var.tokens
    error_message = "Clients would send their tokens in clear: set tls = true too, unless a mesh encrypts between pods."
  }
}
