# What the module gives the chart, with the providers mocked. tests/ops renders the chart with these values.

mock_provider "helm" {}
mock_provider "kubernetes" {
  mock_data "kubernetes_resources" {
    defaults = { objects = [] }
  }
}

variables {
  image         = "registry.example.com/candled"
  image_version = "0.1.0"
}

run "values_are_those_that_are_rendered_in_the_tests" {
  variables {
    shards            = [["BTCUSDT", "ETHUSDT"], ["PEPEUSDT"]]
    settings          = { CANDLED_LOG_LEVEL = "debug" }
    history_url       = "s3://example/candled/{shard}"
    pod_identity      = true
    storage_size      = "50Gi"
    access_mode       = "ReadWriteOncePod"
    tls               = true
    tokens            = true
    monitoring        = true
    monitoring_labels = { release = "kube-prometheus-stack" }
  }
  assert {
    condition     = jsonencode(output.values) == jsonencode(yamldecode(file("tests/values.yaml")))
    error_message = "tests/values.yaml must be what the module makes: tests/ops renders the chart with it."
  }
  assert {
    condition     = jsonencode(yamldecode(helm_release.candled.values[0])) == jsonencode(output.values)
    error_message = "What the tests look at is what is deployed."
  }
}

run "one_pod_with_every_symbol" {
  assert {
    condition     = one(output.values.shards) == tolist(["BTCUSDT", "ETHUSDT", "PEPEUSDT"]) && output.values.restWeightPerMinute == 0
    error_message = "Every symbol is served by one pod with the whole weight."
  }
  assert {
    condition     = helm_release.candled.namespace == "candled" && output.grpc_address == "candled.candled.svc:50051"
    error_message = "The release is in the namespace that is made."
  }
  assert {
    condition     = kubernetes_namespace_v1.candled.metadata[0].labels["pod-security.kubernetes.io/enforce"] == "restricted"
    error_message = "The namespace refuses pods with privileges."
  }
  assert {
    condition     = output.values.resources == { requests = { memory = "512Mi" }, limits = { memory = "1024Mi" } }
    error_message = "Half of the memory limit is requested."
  }
  assert {
    condition     = helm_release.candled.wait && helm_release.candled.atomic
    error_message = "A deployment that does not become ready is undone."
  }
}

run "a_cluster_has_ingesters_edges_and_a_bus" {
  variables {
    mode         = "cluster"
    namespace    = "prices"
    shards       = [["BTCUSDT"], ["PEPEUSDT"]]
    edges        = { min = 3, max = 40, streams = 6000 }
    bus          = { login = true, storage_size = "20Gi" }
    memory_limit = "2048Mi"
  }
  assert {
    condition     = output.values.mode == "cluster" && output.values.ingesters.perShard == 2
    error_message = "Two ingesters of each shard, so that one may be away."
  }
  assert {
    condition     = output.values.edges.replicas.min == 3 && output.values.edges.replicas.max == 40 && output.values.edges.streams == 6000
    error_message = "Edges come and go by need."
  }
  assert {
    condition     = output.values.bus.replicas == 3 && output.values.bus.login && output.values.nats.storage.size == "20Gi"
    error_message = "Three servers, each with a volume, ask for a login."
  }
  assert {
    condition     = output.values.edges.resources.limits.memory == "2048Mi"
    error_message = "Edges have the memory limit, too."
  }
  assert {
    condition     = output.symbol_addresses["PEPEUSDT"] == "candled.prices.svc:50051"
    error_message = "Every edge serves every symbol."
  }
}

run "a_bus_that_is_there_is_used" {
  variables {
    mode = "cluster"
    bus = {
      urls  = ["nats://nats.messaging.svc:4222"]
      peers = [{ namespaceSelector = { matchLabels = { "kubernetes.io/metadata.name" = "messaging" } } }]
    }
  }
  assert {
    condition     = one(output.values.bus.urls) == "nats://nats.messaging.svc:4222" && length(output.values.bus.peers) == 1
    error_message = "Its URLs, and where it is."
  }
}

run "a_bus_that_no_policy_reaches_is_refused" {
  command = plan
  variables {
    mode = "cluster"
    bus  = { urls = ["nats://nats.messaging.svc:4222"] }
  }
  expect_failures = [var.bus]
}

run "a_login_in_a_url_is_refused" {
  command = plan
  variables {
    mode = "cluster"
    bus  = { urls = ["nats://user:word@nats:4222"], peers = [{ podSelector = {} }] }
  }
  expect_failures = [var.bus]
}

run "an_even_number_of_servers_is_refused" {
  command = plan
  variables {
    bus = { replicas = 2 }
  }
  expect_failures = [var.bus]
}

run "more_edges_than_the_most_are_refused" {
  command = plan
  variables {
    edges = { min = 20 }
  }
  expect_failures = [var.edges]
}

run "another_mode_is_refused" {
  command = plan
  variables {
    mode = "edge"
  }
  expect_failures = [var.mode]
}

run "a_changed_size_of_the_servers_fails_in_the_plan" {
  command = plan
  override_data {
    target = data.kubernetes_resources.deployed
    values = { objects = [{ spec = { volumeClaimTemplates = [{ spec = { resources = { requests = { storage = "10Gi" } } } }] } }] }
  }
  variables {
    mode = "cluster"
    bus  = { storage_size = "50Gi" }
  }
  expect_failures = [helm_release.candled]
}

run "another_namespace_is_in_every_address" {
  variables {
    namespace = "prices"
    shards    = [["BTCUSDT"], ["PEPEUSDT"]]
  }
  assert {
    condition     = output.symbol_addresses["PEPEUSDT"] == "candled-1.candled-shards.prices.svc:50051"
    error_message = "The outputs say where a symbol is."
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
  assert {
    condition     = output.values.image.tag == "" && output.values.image.digest == var.image_version
    error_message = "The chart gets a digest, and no tag."
  }
}

run "further_values_are_passed_on" {
  variables {
    more_values = ["nodePort: {enabled: true}"]
  }
  assert {
    condition     = helm_release.candled.values[1] == "nodePort: {enabled: true}"
    error_message = "They come after the module's own, and so win."
  }
}

run "the_same_size_is_deployed_again" {
  override_data {
    target = data.kubernetes_resources.deployed
    values = { objects = [{ spec = { volumeClaimTemplates = [{ spec = { resources = { requests = { storage = "10Gi" } } } }] } }] }
  }
}

run "a_changed_size_fails_in_the_plan" {
  command = plan
  override_data {
    target = data.kubernetes_resources.deployed
    values = { objects = [{ spec = { volumeClaimTemplates = [{ spec = { resources = { requests = { storage = "10Gi" } } } }] } }] }
  }
  variables {
    storage_size = "50Gi"
  }
  expect_failures = [helm_release.candled]
}

run "a_token_in_clear_is_warned_of" {
  command = plan
  variables {
    tokens = true
  }
  expect_failures = [check.tokens_are_not_sent_in_clear]
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

run "a_weight_that_coinbase_does_not_allow_is_refused" {
  command = plan
  variables {
    exchange               = "coinbase"
    shards                 = [["BTC-USD"]]
    rest_weight_per_minute = 3000
  }
  expect_failures = [var.rest_weight_per_minute]
}

run "an_exchange_that_is_not_read_is_refused" {
  command = plan
  variables {
    exchange = "kraken"
  }
  expect_failures = [var.exchange]
}

run "settings_that_the_module_makes_are_refused" {
  command = plan
  variables {
    settings = { CANDLED_SYMBOLS = "BTCUSDT" }
  }
  expect_failures = [var.settings]
}

run "shards_in_one_history_are_refused" {
  command = plan
  variables {
    shards      = [["BTCUSDT"], ["ETHUSDT"]]
    history_url = "s3://example/candled"
  }
  expect_failures = [var.history_url]
}
