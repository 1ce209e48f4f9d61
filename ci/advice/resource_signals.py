"""Known errors of what an identity uses: accounts, registries, services, networks."""

from advice.signals import IN_REPOSITORY, RUN, STATUS, Signal

RESOURCE_SIGNALS = (
    Signal(
        "VPC Service Controls",
        r"vpcServiceControlsUniqueIdentifier|VPC_SERVICE_CONTROLS",
        "a service perimeter keeps requests from outside away, such as those of GitHub's machines",
        "have an administrator of the organization add an ingress rule for {member} to the perimeter, for "
        "sts, iamcredentials, artifactregistry and run; its log has the identifier of the message",
        (),
        ("organization policy", "permission"),
    ),
    Signal(
        "organization policy",
        r"constraints/[a-z]+\.\w+|Org(?:anization)? Polic(?:y|ies) violated|violated one or more Org Polic"
        r"|prohibited by organization.?s policy|not in permitted organization"
        r"|do not belong to a permitted customer",
        "a policy of the organization forbids it, such as providers of other issuers or members from outside",
        "gcloud resource-manager org-policies allow constraints/iam.workloadIdentityPoolProviders {issuer} "
        "--organization=ORGANIZATION # or the constraint that the message names",
        (),
        ("permission",),
    ),
    Signal(
        "access token",
        r"invalid authentication credentials|ACCESS_TOKEN_(?:EXPIRED|INVALID)|invalid_token",
        "the access token has run out, or the service takes none that was not impersonated",
        "give --service-account, which publish then works as; `dagger call setup-google` prints its bindings",
    ),
    Signal(
        "API disabled",
        r"SERVICE_DISABLED|API has not been used in project",
        "the project has not enabled an API that releases use",
        "gcloud services enable iam.googleapis.com iamcredentials.googleapis.com sts.googleapis.com "
        "artifactregistry.googleapis.com --project={project}",
    ),
    Signal(
        "Cloud Run's service agent may not use the account",
        r"Cloud Run Service Agent\b.{0,120}permission to get access tokens",
        "Cloud Run's own account has lost its role, so that it cannot run the service as its account",
        "gcloud projects add-iam-policy-binding {project} --role=roles/run.serviceAgent "
        "--member=serviceAccount:service-{number}@serverless-robot-prod.iam.gserviceaccount.com",
        (),
        ("service account not ours to use", "permission"),
    ),
    Signal(
        "Cloud Run may not read the image",
        r"(?:User|Cloud Run Service Agent\b.{0,120}) must have permission to read the image",
        "the image is in a project or repository that Cloud Run's own account, or who deploys, may not read",
        f"gcloud artifacts repositories add-iam-policy-binding {IN_REPOSITORY} "
        "--role=roles/artifactregistry.reader "
        "--member=serviceAccount:service-{number}@serverless-robot-prod.iam.gserviceaccount.com",
        (),
        ("no right to push", "no right to see the repository", "permission"),
    ),
    Signal(
        "service account not ours to use",
        r"iam\.serviceAccounts\.get(?:AccessToken|OpenIdToken)"
        r"|generate(?:AccessToken|IdToken)\b.{0,120}answered 403"
        r"|generate(?:AccessToken|IdToken)\b.{0,300}caller does not have permission",
        "the service account's principalSet binding is missing, names an attribute that is not mapped, or "
        "wants a job of another environment, as those for staging and production do",
        "gcloud iam service-accounts add-iam-policy-binding {account} --role=roles/iam.workloadIdentityUser "
        '--member="{member}" # not for an account that deploys: its job needs `environment: production` or '
        "the like",
        RUN,
        ("permission",),
    ),
    Signal(
        "service account unknown",
        r"generate(?:AccessToken|IdToken)\b.{0,80}\b404\b|Gaia id not found|Unknown service account",
        "there is no service account of that address",
        "gcloud iam service-accounts list --project={project} --format='value(email)'",
    ),
    Signal(
        "no password",
        r"Unauthenticated request|fetch anonymous token: unexpected status: 40[13]"
        r"|don't have the needed permissions to perform this operation, and you may have invalid credentials",
        "the registry was sent no access token: an empty password counts as anonymous",
        "dagger call doctor --tag=… --registry=… --workload-identity-provider=… # says which step fails",
        covers=("no right to push", "permission"),
    ),
    Signal(
        "no right to see the repository",
        r"artifactregistry\.repositories\.get\b",
        "who deploys may not see the image repository, or it is in another project or region",
        f"gcloud artifacts repositories add-iam-policy-binding {IN_REPOSITORY} "
        '--role=roles/artifactregistry.reader --member="{pusher}"',
        RUN,
        ("permission",),
    ),
    Signal(
        "no right to read the table",
        r"storage\.objects\.get\b",
        "who trains may not read that object of Cloud Storage, or there is none of that name",
        "gcloud storage buckets add-iam-policy-binding gs://{bucket} --role=roles/storage.objectViewer "
        '--member="{pusher}"',
        RUN,
        ("permission",),
    ),
    Signal(
        "no right to push",
        r"artifactregistry\.repositories\.(?:upload|download)Artifacts",
        "the writer role is missing on that repository, or region or repository are others",
        f"gcloud artifacts repositories add-iam-policy-binding {IN_REPOSITORY} "
        '--role=roles/artifactregistry.writer --member="{pusher}"',
        RUN,
    ),
    Signal(
        "no repository in the name",
        r"NAME_INVALID|Missing image name",
        "the name lacks a part: Artifact Registry wants HOST/PROJECT/REPOSITORY/IMAGE",
        "pass --registry={location}-docker.pkg.dev/{project}/{repository}",
        (),
    ),
    Signal(
        "no such repository",
        r"NAME_UNKNOWN|Repository \S+ not found",
        "there is no such repository in that project and region",
        f"gcloud artifacts repositories create {IN_REPOSITORY} --repository-format=docker --immutable-tags",
    ),
    Signal(
        "tag taken",
        r"immutab.{0,40}\btags?\b|\btags?\b.{0,120}immutab",
        "the tag names another image already, and the repository's tags never move",
        "git tag the next version and push that one",
    ),
    Signal(
        "no right to deploy as",
        r"iam\.serviceaccounts\.actAs",
        "who deploys may not use the account that the service runs as",
        "gcloud iam service-accounts add-iam-policy-binding RUNTIME_ACCOUNT "
        '--role=roles/iam.serviceAccountUser --member="serviceAccount:{account}"',
    ),
    Signal(
        "no right to deploy",
        r"run\.(?:services|operations|revisions|routes)\.\w+'? denied",
        "who deploys has no role for that service, or the service, project or region are others",
        "gcloud run services add-iam-policy-binding SERVICE --region={location} --project={project} "
        '--role=roles/run.developer --member="{pusher}" # setup-google creates the service first',
        RUN,
        ("permission",),
    ),
    Signal(
        "no right to set up",
        r"iam\.workloadIdentityPool\w*\.\w+'? denied",
        "the account that runs the set-up script may not create pools",
        "gcloud projects add-iam-policy-binding {project} --role=roles/iam.workloadIdentityPoolAdmin "
        "--member=user:YOU",
        (),
        ("permission",),
    ),
    Signal(
        "no right to use the project",
        r"Caller does not have required permission to use project",
        "requests are counted for a project that who asks may not use",
        "gcloud projects add-iam-policy-binding {project} --role=roles/serviceusage.serviceUsageConsumer "
        '--member="{pusher}"',
        (),
        ("permission",),
    ),
    Signal(
        "another architecture",
        r"exec format error|must support amd64/linux|no match for platform in manifest"
        r"|does not match the (?:detected|specified) (?:host )?platform",
        "the image is for another processor than the machine, such as one built on an Apple-silicon laptop",
        "publish it by the workflow or from a linux/amd64 machine; `dagger call verify --image …` names the "
        "platform of an image",
        (),
        ("service did not start",),
    ),
    Signal(
        "service did not start",
        r"failed to start and (?:then )?listen on the port",
        "the image ignores PORT, listens on the loopback interface only, ends at once, or is for another "
        "processor: its log has `exec format error` then",
        "docker run --rm -e PORT=8081 -p 8081:8081 IMAGE # has to answer from outside, at 0.0.0.0:$PORT",
    ),
    Signal(
        "permission",
        r"caller does not have permission",
        "who asks may not do that: Google does not say which permission it is, but the method is beside it",
        "gcloud logging read 'protoPayload.status.code=7' --project={project} --limit=5 "
        "--format='value(protoPayload.methodName,protoPayload.authorizationInfo)' # names the permission",
        RUN,
    ),
    Signal(
        "certificate",
        r"CERTIFICATE_VERIFY_FAILED|x509: certificate signed by unknown",
        "{host} shows a certificate that this machine's store does not know, as behind a company's proxy",
        "add the company's certificate to /usr/local/share/ca-certificates and run update-ca-certificates",
    ),
    Signal(
        "name",
        r"Name or service not known|No address associated|Temporary failure in name resolution|no such host",
        "the name {host} leads nowhere from here",
        "getent hosts {host} # then correct the name, the DNS or --google-endpoints",
    ),
    Signal(
        "too many requests",
        rf"{STATUS}429\b|RESOURCE_EXHAUSTED|Quota exceeded",
        "a quota is used up, and waiting within the time there is did not help",
        "start the release again later, or raise the quota in the project's console under IAM, Quotas",
        (),
    ),
    Signal(
        "no answer",
        rf"\bno answer to\b|{STATUS}50[0234]\b",
        "{host} is down, or a firewall or proxy keeps this machine from it",
        "curl -sSI https://{host} # then start the release again; nothing half done has to be cleaned up",
        (),
    ),
)
