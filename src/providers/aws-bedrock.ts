import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { DeadTokenRule, Operation, RouteAuth, RouteShape, VersionRule } from '../core/route.ts'
import { bedrockKeyGrant } from './aws-bedrock-key.ts'
import { configOf, domainOf, regionOf, serviceUrl } from './aws-region.ts'
import { isWord } from './aws-session.ts'
import { sessionGrant, sessionStrategy } from './aws-source.ts'
import { BEDROCK_BETAS } from './claude-betas.ts'
import type { ProbeRule, ProviderRules, ProviderType } from './provider-type.ts'

const API_KEY = 'AWS_BEARER_TOKEN_BEDROCK'

/**
 * API versions of Claude on Bedrock. A version not in this table goes through as it is: the newest
 * models take `2026-10-21`, which takes other parameters, so it is never lowered.
 */
const ANTHROPIC_VERSION: VersionRule = {
  byHeader: new Map([['2023-06-01', 'bedrock-2023-05-31']]),
  fallback: 'bedrock-2023-05-31',
}

/** The path says whether the answer is streamed. */
const CLAUDE_REFUSES = ['stream']

/** Headers of the InvokeModel API that are no signature and no credential. */
const BEDROCK_HEADERS = [
  'x-amzn-bedrock-accept',
  'x-amzn-bedrock-trace',
  'x-amzn-bedrock-guardrailidentifier',
  'x-amzn-bedrock-guardrailversion',
  'x-amzn-bedrock-performanceconfig-latency',
  'x-amzn-bedrock-service-tier',
]

/** A 403 has many reasons; only these words mean that the session or key is over. */
const DEAD_TOKEN: readonly DeadTokenRule[] = [
  {
    status: 403,
    when: ['security token included in the request is expired', 'Bearer Token has expired'],
    unless: [],
  },
]

const PROBE_RULES: readonly ProbeRule[] = [
  {
    status: 403,
    pattern: /explicit deny|is not authorized to perform/i,
    code: 'aws_bedrock_access_denied',
    advice:
      'Allow bedrock:InvokeModel and bedrock:InvokeModelWithResponseStream on this model for the role or user',
  },
  {
    status: 403,
    pattern: /signature expired|not yet current/i,
    code: 'aws_clock_skew',
    advice: 'Set the clock: AWS takes signatures that are at most 5 minutes old',
  },
  {
    status: 403,
    pattern: /access to the model/i,
    code: 'aws_bedrock_model_access',
    advice: 'Request access to the model in the Bedrock console, in this region',
  },
  {
    status: 400,
    pattern: /on-demand throughput/i,
    code: 'aws_bedrock_profile_needed',
    advice: 'Use the inference profile of the model, for example us.anthropic.claude-…',
  },
  {
    status: 400,
    pattern: /model identifier is invalid/i,
    code: 'aws_bedrock_model_unknown',
    advice: 'Use the model id as the Bedrock console of this region shows it',
  },
]

/** Amazon Bedrock: Claude as Anthropic Messages, any model by Bedrock's own API. */
export const awsBedrock: ProviderType = {
  type: 'aws-bedrock',
  aliases: ['bedrock'],
  displayName: 'Amazon Bedrock',
  description: 'Claude and other models on AWS, with signed requests or a Bedrock API key',
  credentialKeys: [
    { name: 'AWS_ACCESS_KEY_ID', aliases: [], description: 'Access key of an IAM user' },
    {
      name: 'AWS_SECRET_ACCESS_KEY',
      aliases: [],
      description: 'Its secret; exchanged at STS for session keys, never given to a router',
    },
    { name: API_KEY, aliases: [], description: 'A Bedrock API key, instead of all others' },
    {
      name: 'AWS_CONTAINER_AUTHORIZATION_TOKEN',
      aliases: [],
      description: 'Token for the container endpoint, where it is not in a file',
    },
  ],
  configKeys: [
    { name: 'AWS_REGION', description: 'Region of the model', isRequired: true },
    ...[
      ['AWS_ROLE_ARN', 'Role to assume, by access key or web identity'],
      ['AWS_ROLE_SESSION_NAME', 'Name of the session (default: openshell-PROVIDER)'],
      ['AWS_WEB_IDENTITY_TOKEN_FILE', 'File with the web identity token for the role'],
      ['AWS_CONTAINER_CREDENTIALS_FULL_URI', 'Container endpoint (EKS Pod Identity)'],
      ['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI', 'Container endpoint (ECS): its path'],
      ['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE', 'File with the token for the container endpoint'],
      ['AWS_EC2_METADATA_SERVICE_ENDPOINT', 'Instance metadata (default: http://169.254.169.254)'],
      ['AWS_ENDPOINT_URL_STS', 'Another address of STS'],
      ['AWS_ENDPOINT_URL_BEDROCK_RUNTIME', 'Another address of Bedrock: FIPS, a VPC endpoint'],
      ['BEDROCK_AUTH', '"sigv4" (default), or "api-key": a short-term key, made of session keys'],
    ].map(([name = '', description = '']) => ({ name, description, isRequired: false })),
  ],
  example:
    'openshell provider add --type aws-bedrock --name my-bedrock --credential AWS_ACCESS_KEY_ID --credential AWS_SECRET_ACCESS_KEY --config AWS_REGION=us-east-1 --config AWS_ROLE_ARN=arn:aws:iam::123456789012:role/bedrock',
  tokenKey: 'AWS_BEDROCK_SESSION',
  strategyOf: sessionStrategy,
  grant(provider, nowMs, rules) {
    const region = regionOf(provider)
    if (provider.material.has(API_KEY)) {
      checkApiKey(provider)
      return null
    }
    const session = sessionGrant(provider, nowMs, rules)
    return signs(provider) ? session : bedrockKeyGrant(session, region)
  },
  route: (provider, modelId, rules) => ({
    shape: bedrockShape(provider, modelId, rules),
    credential: provider.material.has(API_KEY)
      ? { kind: 'material', key: API_KEY }
      : { kind: 'token' },
  }),
  probeRules: PROBE_RULES,
}

/** Whether requests are signed; otherwise they carry a Bedrock API key. */
function signs(provider: ProviderRecord): boolean {
  const auth = configOf(provider, 'BEDROCK_AUTH') || 'sigv4'
  if (auth === 'sigv4' || auth === 'api-key') return auth === 'sigv4'
  throw new AppError('invalid_config', `BEDROCK_AUTH is "${auth}", expected "sigv4" or "api-key"`)
}

function checkApiKey({ material }: ProviderRecord): void {
  if (!isWord(material.get(API_KEY)?.reveal())) {
    throw new AppError('invalid_credential', `${API_KEY} is not a Bedrock API key`, {
      hint: 'Expected one word of printable characters',
    })
  }
  const others = [...material.keys()].filter(name => name !== API_KEY)
  if (others.length === 0) return
  throw new AppError(
    'invalid_credential',
    `${API_KEY} is used instead of all others, but there is ${others.join(', ')}, too`,
    { hint: 'Take the others away, by setting them to nothing' },
  )
}

function bedrockShape(provider: ProviderRecord, modelId: string, rules: ProviderRules): RouteShape {
  const region = regionOf(provider)
  const service = 'bedrock-runtime'
  const url = serviceUrl(provider, {
    label: 'AWS_ENDPOINT_URL_BEDROCK_RUNTIME',
    hosts: [
      `${service}.${region}.${domainOf(region)}`,
      `${service}-fips.${region}.${domainOf(region)}`,
      `${service}.${region}.api.aws`,
      `*.${service}.${region}.vpce.${domainOf(region)}`,
    ],
    rules,
  })
  const isBearer = provider.material.has(API_KEY) || !signs(provider)
  const auth: RouteAuth = isBearer
    ? { kind: 'header', header: 'authorization', prefix: 'Bearer ' }
    : { kind: 'sigv4', service: 'bedrock', region }
  return {
    baseUrl: `${url.origin}${url.pathname}`.replace(/\/+$/, ''),
    modelId: checkModel(modelId),
    operations: operationsFor(modelId),
    auth,
    defaultHeaders: new Map(),
    allowHeaders: BEDROCK_HEADERS,
    betas: BEDROCK_BETAS,
    deadToken: DEAD_TOKEN,
  }
}

/** What all operations here have in common: Bedrock's bodies name no model, its paths no query. */
const OPERATION = {
  baseUrl: '',
  streamPath: '',
  model: 'keep',
  version: null,
  removeMembers: [],
  dropQuery: ['*'],
  keepQuery: [],
  hasBetas: false,
  defaultMembers: [],
  translation: null,
} as const satisfies Partial<Operation>

const NATIVE: readonly Operation[] = [
  { ...OPERATION, protocol: 'aws_bedrock_invoke', path: '/model/{model}/invoke' },
  {
    ...OPERATION,
    protocol: 'aws_bedrock_invoke_stream',
    path: '/model/{model}/invoke-with-response-stream',
  },
  { ...OPERATION, protocol: 'aws_bedrock_converse', path: '/model/{model}/converse' },
  {
    ...OPERATION,
    protocol: 'aws_bedrock_converse_stream',
    path: '/model/{model}/converse-stream',
  },
]

const CLAUDE: Operation = {
  ...OPERATION,
  protocol: 'anthropic_messages',
  path: '/model/{model}/invoke',
  streamPath: '/model/{model}/invoke-with-response-stream',
  model: 'remove',
  version: ANTHROPIC_VERSION,
  removeMembers: CLAUDE_REFUSES,
  hasBetas: true,
  defaultMembers: [],
  translation: { name: 'bedrock_claude', options: new Map() },
}

const OPENAI_CHAT: Operation = {
  ...OPERATION,
  protocol: 'openai_chat_completions',
  path: '/openai/v1/chat/completions',
  model: 'replace',
}

/** The publisher stands in the id, behind the geography of an inference profile if there is one. */
function operationsFor(modelId: string): readonly Operation[] {
  if (/(^|[./])anthropic\./.test(modelId)) return [CLAUDE, ...NATIVE]
  return /(^|[./])openai\./.test(modelId) ? [OPENAI_CHAT, ...NATIVE] : NATIVE
}

/** A model id, an inference profile or an ARN. It becomes one encoded segment of the path. */
function checkModel(modelId: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._:/-]{0,2047}$/.test(modelId) && !modelId.includes('..')) {
    return modelId
  }
  throw new AppError('invalid_argument', `"${modelId.slice(0, 128)}" is not a Bedrock model id`, {
    hint: 'Model ids look like us.anthropic.claude-sonnet-4-5-20250929-v1:0, or are ARNs',
  })
}
