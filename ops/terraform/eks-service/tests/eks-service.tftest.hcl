# What the service root gives the module, with the cluster's state and every provider mocked.

mock_provider "helm" {}
mock_provider "kubernetes" {
  mock_data "kubernetes_resources" {
    defaults = { objects = [] }
  }
}

override_data {
  target = data.terraform_remote_state.cluster
  values = {
    outputs = {
      cluster_name          = "candled"
      region                = "ap-northeast-1"
      endpoint              = "https://example.eks.amazonaws.com"
      certificate_authority = "Y2E="
      architecture          = "arm64"
      auto_mode             = false
      storage_driver        = "ebs.csi.aws.com"
      image_repository      = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/candled"
      configure_kubectl     = "aws eks update-kubeconfig --region ap-northeast-1 --name candled"
      history_url           = "s3://candled-history-1/candled"
    }
  }
}

variables {
  cluster_state = { bucket = "example", key = "candled/eks-cluster.tfstate", region = "eu-central-1" }
}

run "the_history_has_one_writer_and_outlives_its_claim" {
  assert {
    condition     = module.candled.values.storage == { accessMode = "ReadWriteOncePod", className = "", size = "20Gi" }
    error_message = "One pod in the whole cluster holds a volume of the class that the chart makes."
  }
  assert {
    condition     = local.more.storageClass == { create = true, provisioner = "ebs.csi.aws.com" }
    error_message = "The class is of the cluster's driver."
  }
}

run "the_image_is_one_version_of_the_clusters_registry" {
  assert {
    condition     = output.image == "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/candled:0.1.0"
    error_message = "Pods run the image of this registry."
  }
  assert {
    condition     = length(terraform_data.image) == 0
    error_message = "Nothing is built while applying."
  }
}

run "an_image_of_another_registry" {
  variables {
    image         = "ghcr.io/example/candled"
    image_version = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  }
  assert {
    condition     = output.image == "ghcr.io/example/candled@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    error_message = "A signed image of a release can be deployed as it is."
  }
}

run "snapshots_are_taken_by_default" {
  assert {
    condition     = local.more.backup == { enabled = true, schedule = "17 */6 * * *", keep = 28, snapshotClass = { create = true, driver = "ebs.csi.aws.com" } }
    error_message = "A week of four snapshots a day."
  }
}

run "no_snapshots_on_request" {
  variables {
    backup_schedule = ""
  }
  assert {
    condition     = !local.more.backup.enabled
    error_message = "An empty schedule takes none."
  }
}

run "a_cluster_is_passed_on" {
  variables {
    mode  = "cluster"
    edges = { min = 4 }
    bus   = { login = true }
  }
  assert {
    condition     = module.candled.values.mode == "cluster" && module.candled.values.edges.replicas.min == 4 && module.candled.values.bus.login
    error_message = "Mode, edges and bus are the module's."
  }
  assert {
    condition     = !local.more.backup.enabled
    error_message = "There are no volumes of candled to take snapshots of."
  }
}

run "the_history_is_copied_to_the_clusters_bucket" {
  assert {
    condition     = module.candled.values.history == { url = "s3://candled-history-1/candled/0", endpoint = "" } && module.candled.values.networkPolicy == { podIdentity = true }
    error_message = "Pods reach the bucket with the role of their service account."
  }
}

run "each_shard_has_a_history_of_its_own" {
  variables {
    shards = [["BTCUSDT"], ["ETHUSDT"]]
  }
  assert {
    condition     = module.candled.values.history.url == "s3://candled-history-1/candled/{shard}"
    error_message = "Two writers never share a prefix; the first one's is that of a single pod."
  }
}

run "no_copy_on_request" {
  variables {
    history = false
  }
  assert {
    condition     = module.candled.values.history.url == "" && !module.candled.values.networkPolicy.podIdentity
    error_message = "Without a copy pods reach no agent."
  }
}

run "auto_mode_enforces_network_policies" {
  override_data {
    target = data.terraform_remote_state.cluster
    values = {
      outputs = {
        cluster_name          = "candled"
        region                = "ap-northeast-1"
        endpoint              = "https://example.eks.amazonaws.com"
        certificate_authority = "Y2E="
        architecture          = "amd64"
        auto_mode             = true
        storage_driver        = "ebs.csi.eks.amazonaws.com"
        image_repository      = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/candled"
        configure_kubectl     = "aws eks update-kubeconfig --region ap-northeast-1 --name candled"
        history_url           = ""
      }
    }
  }
  assert {
    condition     = kubernetes_config_map_v1.network_policy[0].data.enable-network-policy-controller == "true"
    error_message = "Without it a NetworkPolicy is accepted and does nothing."
  }
  assert {
    condition     = local.more.storageClass.provisioner == "ebs.csi.eks.amazonaws.com"
    error_message = "Auto Mode has a driver of its own."
  }
}

run "a_schedule_in_words_is_refused" {
  command = plan
  variables {
    backup_schedule = "daily"
  }
  expect_failures = [var.backup_schedule]
}
