resource "aws_ecr_repository" "candled" {
  name = var.name
  # A version, once pushed, is that version for good.
  image_tag_mutability = "IMMUTABLE"

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.this.arn
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "candled" {
  repository = aws_ecr_repository.candled.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Thirty versions to roll back to"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 30 }
      action       = { type = "expire" }
    }]
  })
}
