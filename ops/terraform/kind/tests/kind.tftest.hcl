# The cluster on one machine, with every provider mocked.

mock_provider "helm" {}
mock_provider "kubernetes" {
  mock_data "kubernetes_resources" {
    defaults = { objects = [] }
  }
}
mock_provider "kind" {
  mock_resource "kind_cluster" {
    defaults = {
      kubeconfig_path = "/home/user/.kube/candled"
    }
  }
}

variables {
  load_image = false
}

run "a_newcomer_gets_live_candles_without_a_network" {
  assert {
    condition     = module.candled.values.embeddedExchange.enabled
    error_message = "The default reads from the embedded exchange."
  }
  assert {
    condition     = module.candled.image == "candled:0.1.0"
    error_message = "The image is the one that make image built."
  }
}

run "ports_are_open_to_this_machine_alone" {
  assert {
    condition     = alltrue([for mapping in kind_cluster.this.kind_config[0].node[0].extra_port_mappings : mapping.listen_address == "127.0.0.1"])
    error_message = "A trial must not be open to the network."
  }
  assert {
    condition = toset([for mapping in kind_cluster.this.kind_config[0].node[0].extra_port_mappings : mapping.container_port]) == toset([
      for port in values(yamldecode(file("../../helm/candled/values.yaml")).nodePort) : port if can(tonumber(port))
    ])
    error_message = "The cluster maps the node ports that the service opens."
  }
}

run "the_node_is_pinned" {
  assert {
    condition     = can(regex("^kindest/node:v1\\.[0-9]+\\.[0-9]+@sha256:[0-9a-f]{64}$", kind_cluster.this.kind_config[0].node[0].image))
    error_message = "The node's image is one version, by digest."
  }
}

run "the_real_exchange_on_request" {
  variables {
    embedded_exchange = false
  }
  assert {
    condition     = !module.candled.values.embeddedExchange.enabled
    error_message = "Without the embedded exchange the daemon's own default holds."
  }
}

run "a_name_that_kind_would_refuse" {
  command = plan
  variables {
    cluster_name = "My Cluster"
  }
  expect_failures = [var.cluster_name]
}
