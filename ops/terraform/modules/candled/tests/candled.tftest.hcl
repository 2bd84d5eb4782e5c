# What the module deploys, with the providers mocked.

mock_provider "helm" {}
mock_provider "kubernetes" {}

variables {
  image         = "registry.example.com/candled"
  image_version = "0.1.0"
}

run "one_pod_with_every_symbol" {
  assert {
    condition     = { for m in yamldecode(helm_release.candled.values[0]).manifests : "${m.kind} ${m.metadata.name}" => m } == output.objects
    error_message = "What the tests look at is what is deployed."
  }
  assert {
    condition = toset([for name in keys(output.objects) : name if !startswith(name, "ConfigMap")]) == toset([
      "ServiceAccount candled", "Service candled", "Service candled-shards", "StatefulSet candled",
      "PodDisruptionBudget candled", "NetworkPolicy candled",
    ])
    error_message = "The module must deploy exactly the objects of ops/k8s/base."
  }
  assert {
    condition     = output.objects["StatefulSet candled"].spec.replicas == 1
    error_message = "One pod unless shards say otherwise."
  }
  assert {
    condition     = output.settings.CANDLED_SYMBOLS == "BTCUSDT,ETHUSDT,PEPEUSDT"
    error_message = "Every symbol is served."
  }
  assert {
    condition     = !contains(keys(output.settings), "CANDLED_SHARDS")
    error_message = "One pod needs no map."
  }
  assert {
    condition     = output.settings.CANDLED_CONNECTIONS == "2"
    error_message = "Settings of candled.env are taken over."
  }
  assert {
    condition     = one([for name in keys(output.objects) : name if startswith(name, "ConfigMap")]) == join(" ", ["ConfigMap", one(output.objects["StatefulSet candled"].spec.template.spec.containers).envFrom[0].configMapRef.name])
    error_message = "The pods read the config map that is deployed."
  }
  assert {
    condition     = one(output.objects["StatefulSet candled"].spec.template.spec.containers).image == "registry.example.com/candled:0.1.0"
    error_message = "The image carries its version."
  }
  assert {
    condition     = one(output.objects["StatefulSet candled"].spec.volumeClaimTemplates).spec.resources.requests.storage == "10Gi"
    error_message = "The claim has the size that the variable says."
  }
  assert {
    condition     = one(output.objects["StatefulSet candled"].spec.template.spec.containers).securityContext.readOnlyRootFilesystem
    error_message = "What the base says of security stays."
  }
  assert {
    condition     = kubernetes_namespace_v1.candled.metadata[0].labels["pod-security.kubernetes.io/enforce"] == "restricted"
    error_message = "The namespace refuses pods with privileges."
  }
  assert {
    condition     = one(output.objects["StatefulSet candled"].spec.template.spec.containers).readinessProbe.grpc.service == "candled.v1.CandleService"
    error_message = "Readiness is the service's own."
  }
  assert {
    condition     = helm_release.candled.wait && helm_release.candled.atomic
    error_message = "A deployment that does not become ready is undone."
  }
}

run "several_pods_share_the_symbols_and_the_weight" {
  variables {
    shards = [["BTCUSDT", "ETHUSDT"], ["PEPEUSDT"]]
  }
  assert {
    condition     = output.objects["StatefulSet candled"].spec.replicas == 2
    error_message = "One pod for each shard."
  }
  assert {
    condition     = output.settings.CANDLED_SHARDS == "BTCUSDT,ETHUSDT;PEPEUSDT"
    error_message = "The map names the symbols of each shard."
  }
  assert {
    condition     = output.settings.CANDLED_REST_WEIGHT_PER_MINUTE == "1500"
    error_message = "The pods share one address and so one weight."
  }
  assert {
    condition     = contains([for v in one(output.objects["StatefulSet candled"].spec.template.spec.containers).env : v.name], "CANDLED_SHARD")
    error_message = "A pod learns its shard."
  }
  assert {
    condition     = output.symbol_addresses["PEPEUSDT"] == "candled-1.candled-shards.candled.svc:50051"
    error_message = "The outputs say where a symbol is."
  }
}

run "a_volume_of_its_own_class_with_one_pod" {
  variables {
    storage_class_name = "candled-gp3"
    storage_size       = "50Gi"
    access_mode        = "ReadWriteOncePod"
  }
  assert {
    condition = one(output.objects["StatefulSet candled"].spec.volumeClaimTemplates).spec == {
      accessModes      = ["ReadWriteOncePod"]
      resources        = { requests = { storage = "50Gi" } }
      storageClassName = "candled-gp3"
    }
    error_message = "Class, size and access mode are the variables'."
  }
}

run "the_embedded_exchange_on_request" {
  variables {
    embedded_exchange = true
  }
  assert {
    condition     = one(output.objects["Deployment exchange"].spec.template.spec.containers).image == "registry.example.com/candled:0.1.0"
    error_message = "The exchange runs from the same image."
  }
  assert {
    condition     = output.settings.CANDLED_STREAM_URLS == "ws://exchange:9443"
    error_message = "The daemon reads from it."
  }
}

run "tls_and_tokens_come_from_secrets" {
  variables {
    tls    = true
    tokens = true
  }
  assert {
    condition     = toset([for v in output.objects["StatefulSet candled"].spec.template.spec.volumes : v.name]) == toset(["tmp", "tls", "tokens"])
    error_message = "The Secrets are volumes."
  }
  assert {
    condition     = one(output.objects["StatefulSet candled"].spec.template.spec.containers).readinessProbe.httpGet.path == "/readyz"
    error_message = "The kubelet's gRPC probe speaks no TLS."
  }
  assert {
    condition     = output.settings.CANDLED_GRPC_TLS_CERTIFICATE == "/etc/candled/tls/tls.crt" && output.settings.CANDLED_TOKENS_FILE == "/etc/candled/tokens/tokens"
    error_message = "The daemon is told where the files are."
  }
}

run "a_token_in_clear_is_warned_of" {
  command = plan
  variables {
    tokens = true
  }
  expect_failures = [check.tokens_are_not_sent_in_clear]
}

run "monitoring_on_request" {
  variables {
    monitoring        = true
    monitoring_labels = { release = "kube-prometheus-stack" }
    tls               = true
    tokens            = true
  }
  assert {
    condition     = alltrue([for name in ["PodMonitor candled", "PrometheusRule candled"] : output.objects[name].metadata.labels.release == "kube-prometheus-stack"])
    error_message = "The operator takes up what carries its label."
  }
  assert {
    condition     = alltrue([for object in values(output.objects) : !contains(keys(object.metadata), "namespace")])
    error_message = "Everything goes to the namespace of the variable."
  }
  assert {
    condition     = one(output.objects["PodMonitor candled"].spec.podMetricsEndpoints).port == "http" && one(output.objects["PodMonitor candled"].spec.podMetricsEndpoints).authorization.credentials.name == "candled-tokens"
    error_message = "Prometheus asks the HTTP port and sends its token."
  }
  assert {
    condition     = length(output.objects["PrometheusRule candled"].spec.groups[0].rules) > 10
    error_message = "The alert rules are deployed."
  }
  assert {
    condition     = jsondecode(output.objects["ConfigMap candled-dashboard"].data["dashboard.json"]).title == "candled" && output.objects["ConfigMap candled-dashboard"].metadata.labels.grafana_dashboard == "1"
    error_message = "Grafana finds the dashboard."
  }
  assert {
    condition     = length(one(output.objects["StatefulSet candled"].spec.template.spec.containers).volumeMounts) == 4
    error_message = "What the token component says of the PodMonitor stays out of the pods."
  }
}

run "a_digest_pins_the_image_for_good" {
  variables {
    image_version = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  }
  assert {
    condition     = output.image == "registry.example.com/candled@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    error_message = "A digest follows an @."
  }
}

run "further_settings_reach_the_daemon" {
  variables {
    settings = { CANDLED_LOG_LEVEL = "debug" }
  }
  assert {
    condition     = output.settings.CANDLED_LOG_LEVEL == "debug"
    error_message = "A setting overrides the base."
  }
}

run "latest_is_no_version" {
  command = plan
  variables {
    image_version = "latest"
  }
  expect_failures = [var.image_version]
}

run "a_version_in_the_image_is_refused" {
  command = plan
  variables {
    image = "registry.example.com:5000/candled:0.1.0"
  }
  expect_failures = [var.image]
}

run "a_symbol_in_two_shards_is_refused" {
  command = plan
  variables {
    shards = [["BTCUSDT"], ["BTCUSDT"]]
  }
  expect_failures = [var.shards]
}

run "an_empty_shard_is_refused" {
  command = plan
  variables {
    shards = [["BTCUSDT"], []]
  }
  expect_failures = [var.shards]
}

run "a_volume_for_many_writers_is_refused" {
  command = plan
  variables {
    access_mode = "ReadWriteMany"
  }
  expect_failures = [var.access_mode]
}

run "a_weight_that_bans_the_address_is_refused" {
  command = plan
  variables {
    rest_weight_per_minute = 6000
  }
  expect_failures = [var.rest_weight_per_minute]
}

run "settings_that_the_module_makes_are_refused" {
  command = plan
  variables {
    settings = { CANDLED_SYMBOLS = "BTCUSDT" }
  }
  expect_failures = [var.settings]
}
