import type {
  ProfileCredential,
  ProfileDocument,
  ProfileEndpoint,
  ProfileRefresh,
} from './profile-document.ts'

const BEARER = { auth_style: 'bearer', header_name: 'authorization' } as const

const HOUR = { refresh_before_seconds: 300, max_lifetime_seconds: 3_600 } as const

/** A host whose requests are looked into. */
function rest(host: string, access = 'read-write'): ProfileEndpoint {
  return { host, port: 443, protocol: 'rest', access, enforcement: 'enforce' }
}

/** A host whose connections are passed on unseen. */
function opaque(host: string): ProfileEndpoint {
  return { host, port: 443 }
}

const GOOGLE = {
  token_url: 'https://oauth2.googleapis.com/token',
  scopes: ['https://www.googleapis.com/auth/cloud-platform'],
  ...HOUR,
} as const

const GOOGLE_ACCOUNT: ProfileRefresh = {
  strategy: 'google_service_account_jwt',
  ...GOOGLE,
  material: [
    { name: 'client_email', description: 'E-mail of the service account', required: true },
    {
      ...{ name: 'private_key', description: 'Its private key, PEM' },
      ...{ required: true, secret: true },
    },
    { name: 'subject', description: 'Person on whose behalf it acts, domain-wide delegation' },
  ],
}

const GOOGLE_SIGN_IN: ProfileRefresh = {
  strategy: 'oauth2_refresh_token',
  ...GOOGLE,
  material: [
    { name: 'client_id', description: 'client_id of the gcloud sign-in', required: true },
    {
      ...{ name: 'client_secret', description: 'client_secret of the gcloud sign-in' },
      ...{ required: true, secret: true },
    },
    {
      ...{ name: 'refresh_token', description: 'refresh_token of the gcloud sign-in' },
      ...{ required: true, secret: true },
    },
  ],
}

/** Session keys of a role; one mint brings all three. */
const AWS_SESSION: readonly ProfileCredential[] = [
  {
    name: 'access_key_id',
    description: 'AWS access key id of the session',
    env_vars: ['AWS_ACCESS_KEY_ID'],
    required: true,
    refresh: {
      strategy: 'aws_sts_assume_role',
      ...HOUR,
      material: [
        { name: 'role_arn', description: 'ARN of the role', required: true },
        { name: 'session_name', description: 'Name of the session in CloudTrail' },
        { name: 'external_id', description: 'What the role of another account asks for' },
        { name: 'aws_region', description: 'Region of STS (default: us-east-1)' },
        {
          name: 'aws_access_key_id',
          description: 'Long-lived access key id that assumes the role',
        },
        {
          ...{ name: 'aws_secret_access_key', description: 'The secret key of it' },
          secret: true,
        },
        {
          ...{ name: 'aws_session_token', description: 'Only for source keys that are a session' },
          secret: true,
        },
      ],
      additional_outputs: [
        { output: 'secret_access_key', credential: 'secret_access_key' },
        { output: 'session_token', credential: 'session_token' },
      ],
    },
  },
  {
    name: 'secret_access_key',
    description: 'AWS secret access key of the session',
    env_vars: ['AWS_SECRET_ACCESS_KEY'],
    required: true,
  },
  {
    name: 'session_token',
    description: 'AWS session token',
    env_vars: ['AWS_SESSION_TOKEN'],
    required: true,
  },
]

function s3(host: string): ProfileEndpoint {
  return { ...rest(host), credential_signing: 'sigv4', signing_service: 's3' }
}

/** Inference profiles: what OpenShell says of provider types that this program serves itself. */
const INFERENCE: readonly ProfileDocument[] = [
  {
    id: 'aws-bedrock',
    display_name: 'AWS Bedrock',
    description: "Models on Amazon Bedrock, by AWS keys or Bedrock's own key",
    category: 'inference',
    inference_capable: true,
    credentials: [
      {
        name: 'aws_access_key_id',
        description: 'AWS access key id',
        env_vars: ['AWS_ACCESS_KEY_ID'],
      },
      {
        name: 'aws_secret_access_key',
        description: 'AWS secret access key',
        env_vars: ['AWS_SECRET_ACCESS_KEY'],
      },
      {
        name: 'aws_session_token',
        description: 'Session token of temporary keys',
        env_vars: ['AWS_SESSION_TOKEN'],
      },
      {
        name: 'aws_region',
        description: 'AWS region',
        env_vars: ['AWS_REGION', 'AWS_DEFAULT_REGION'],
      },
    ],
  },
  {
    id: 'deepinfra',
    display_name: 'DeepInfra',
    description: 'Open models hosted by DeepInfra, with a static key',
    category: 'inference',
    inference_capable: true,
    credentials: [
      {
        ...{ name: 'api_key', description: 'DeepInfra API key', env_vars: ['DEEPINFRA_API_KEY'] },
        ...{ required: true, ...BEARER },
      },
    ],
    discovery: { credentials: ['api_key'] },
    endpoints: [rest('api.deepinfra.com')],
    binaries: ['/usr/bin/curl', '/usr/local/bin/curl'],
  },
  {
    id: 'google-vertex-ai',
    display_name: 'Google Vertex AI',
    description: 'Claude, Gemini, Mistral and others on Google Cloud, with any Google credential',
    category: 'inference',
    inference_capable: true,
    credentials: [
      {
        name: 'service_account_key',
        description: 'JSON key file of a service account; it never reaches a sandbox',
        env_vars: ['GOOGLE_SERVICE_ACCOUNT_KEY'],
      },
      {
        name: 'service_account_token',
        description: 'Access token, refreshed by a service account',
        env_vars: ['GOOGLE_VERTEX_AI_SERVICE_ACCOUNT_TOKEN', 'VERTEX_AI_SERVICE_ACCOUNT_TOKEN'],
        ...BEARER,
        refresh: GOOGLE_ACCOUNT,
      },
      {
        name: 'gcloud_adc_token',
        description: 'Access token, refreshed by a gcloud sign-in',
        env_vars: ['GOOGLE_VERTEX_AI_TOKEN', 'VERTEX_AI_TOKEN'],
        ...BEARER,
        refresh: GOOGLE_SIGN_IN,
      },
    ],
    discovery: { credentials: ['service_account_token', 'gcloud_adc_token'] },
    endpoints: [
      '*-aiplatform.googleapis.com',
      'aiplatform.googleapis.com',
      'aiplatform.us.rep.googleapis.com',
      'aiplatform.eu.rep.googleapis.com',
    ].map(host => rest(host)),
  },
  {
    id: 'nvidia',
    display_name: 'NVIDIA',
    description: "NVIDIA's hosted models, with a static key",
    category: 'inference',
    inference_capable: true,
    credentials: [
      {
        ...{ name: 'api_key', description: 'NVIDIA API key', env_vars: ['NVIDIA_API_KEY'] },
        ...{ required: true, ...BEARER },
      },
    ],
    discovery: { credentials: ['api_key'] },
    endpoints: [rest('integrate.api.nvidia.com')],
    binaries: ['/usr/bin/curl', '/usr/local/bin/curl'],
  },
]

/** Profiles of what an agent uses besides models: their credentials go into sandboxes alone. */
export const TOOL_PROFILES: readonly ProfileDocument[] = [
  {
    id: 'aws',
    display_name: 'AWS',
    description: 'Session keys of an AWS role',
    category: 'other',
    credentials: AWS_SESSION,
  },
  {
    id: 'aws-s3',
    display_name: 'AWS S3',
    description: 'Amazon S3 by session keys of an AWS role',
    category: 'other',
    credentials: AWS_SESSION,
    endpoints: [
      '*.s3.amazonaws.com',
      's3.amazonaws.com',
      '*.s3.*.amazonaws.com',
      's3.*.amazonaws.com',
      '*.s3.dualstack.*.amazonaws.com',
      's3.dualstack.*.amazonaws.com',
    ].map(s3),
    binaries: ['/usr/bin/python3', '/usr/bin/curl', '/usr/local/bin/aws'],
  },
  {
    id: 'claude-code',
    display_name: 'Claude Code',
    description: 'Claude Code, with a key of Anthropic',
    category: 'agent',
    inference_capable: true,
    credentials: [
      {
        name: 'api_key',
        description: 'Anthropic API key',
        env_vars: ['ANTHROPIC_API_KEY', 'CLAUDE_API_KEY'],
        required: true,
        auth_style: 'header',
        header_name: 'x-api-key',
      },
    ],
    discovery: { credentials: ['api_key'] },
    endpoints: ['api.anthropic.com', 'statsig.anthropic.com', 'sentry.io'].map(host => rest(host)),
    binaries: ['/usr/bin/claude', '/usr/local/bin/claude'],
  },
  {
    id: 'codex',
    display_name: 'Codex',
    description: 'Codex of OpenAI, with the tokens of a sign-in',
    category: 'agent',
    inference_capable: true,
    credentials: [
      {
        ...{ name: 'access_token', description: 'OAuth access token', required: true },
        env_vars: ['CODEX_AUTH_ACCESS_TOKEN'],
      },
      {
        ...{ name: 'refresh_token', description: 'OAuth refresh token', required: true },
        env_vars: ['CODEX_AUTH_REFRESH_TOKEN'],
      },
      {
        ...{ name: 'account_id', description: 'Id of the account', required: true },
        env_vars: ['CODEX_AUTH_ACCOUNT_ID'],
      },
      { name: 'id_token', description: 'OpenID token', env_vars: ['CODEX_AUTH_ID_TOKEN'] },
    ],
    discovery: { credentials: ['access_token', 'refresh_token', 'account_id', 'id_token'] },
    endpoints: ['api.openai.com', 'auth.openai.com', 'chatgpt.com', 'ab.chatgpt.com'].map(host =>
      rest(host),
    ),
    binaries: ['/usr/bin/codex', '/usr/local/bin/codex', '/usr/lib/node_modules/@openai/**'],
  },
  {
    id: 'copilot',
    display_name: 'GitHub Copilot',
    description: "GitHub Copilot's command line and services",
    category: 'agent',
    credentials: [
      {
        name: 'api_token',
        description: 'GitHub token for Copilot',
        env_vars: ['COPILOT_GITHUB_TOKEN', 'GH_TOKEN', 'GITHUB_TOKEN'],
        required: true,
        ...BEARER,
      },
    ],
    discovery: { credentials: ['api_token'] },
    endpoints: [
      ...[
        'api.githubcopilot.com',
        'api.individual.githubcopilot.com',
        'api.business.githubcopilot.com',
        'api.enterprise.githubcopilot.com',
        'copilot-proxy.githubusercontent.com',
      ].map(host => rest(host)),
      ...['telemetry.enterprise.githubcopilot.com', 'default.exp-tas.com'].map(opaque),
    ],
    binaries: [
      '/usr/bin/copilot',
      '/usr/lib/node_modules/@github/copilot/node_modules/@github/**/copilot',
    ],
  },
  {
    id: 'cursor',
    display_name: 'Cursor',
    description: 'The server half of the Cursor editor: its downloads and updates',
    category: 'agent',
    endpoints: [
      'cursor.blob.core.windows.net',
      'api2.cursor.sh',
      'repo.cursor.sh',
      'download.cursor.sh',
      'cursor.download.prss.microsoft.com',
    ].map(opaque),
    binaries: ['/usr/bin/curl', '/usr/bin/wget', '/sandbox/.cursor-server/**'],
  },
  {
    id: 'github',
    display_name: 'GitHub',
    description: "GitHub's API, and fetching with Git",
    category: 'source_control',
    credentials: [
      {
        name: 'api_token',
        description: 'GitHub token',
        env_vars: ['GITHUB_TOKEN', 'GH_TOKEN'],
        required: true,
        ...BEARER,
      },
    ],
    discovery: { credentials: ['api_token'] },
    endpoints: [
      rest('api.github.com', 'read-only'),
      { ...rest('api.github.com', 'read-only'), path: '/graphql', protocol: 'graphql' },
      {
        ...{ host: 'github.com', port: 443, protocol: 'rest', enforcement: 'enforce' },
        rules: [
          ...['GET', 'HEAD', 'OPTIONS'].map(method => ({ allow: { method, path: '**' } })),
          { allow: { method: 'POST', path: '/**/git-upload-pack' } },
        ],
      },
    ],
    binaries: ['/usr/bin/gh', '/usr/local/bin/gh', '/usr/bin/git', '/usr/local/bin/git'],
  },
  {
    id: 'google-cloud',
    display_name: 'Google Cloud',
    description: "Tokens for Google Cloud's own SDKs",
    category: 'other',
    credentials: [
      {
        name: 'service_account_token',
        description: 'Access token, refreshed by a service account',
        env_vars: ['GCP_SA_ACCESS_TOKEN'],
        ...BEARER,
        refresh: GOOGLE_ACCOUNT,
      },
      {
        name: 'adc_token',
        description: 'Access token, refreshed by a gcloud sign-in',
        env_vars: ['GCP_ADC_ACCESS_TOKEN'],
        ...BEARER,
        refresh: GOOGLE_SIGN_IN,
      },
    ],
    discovery: { credentials: ['service_account_token', 'adc_token'] },
  },
  {
    id: 'pypi',
    display_name: 'PyPI',
    description: 'Python packages',
    category: 'data',
    endpoints: [
      'pypi.org',
      'files.pythonhosted.org',
      'github.com',
      'objects.githubusercontent.com',
      'api.github.com',
      'downloads.python.org',
    ].map(opaque),
    binaries: ['/usr/bin/python3', '/usr/local/bin/python3', '/usr/local/bin/uv'],
  },
]

/** All profiles that OpenShell v0.0.111 comes with, in the order of their ids. */
export const BUILTIN_PROFILES: readonly ProfileDocument[] = [...INFERENCE, ...TOOL_PROFILES].sort(
  (one, other) => (one.id < other.id ? -1 : 1),
)
