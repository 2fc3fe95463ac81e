import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { DeadTokenRule, Operation, Protocol, RouteShape } from '../core/route.ts'
import { configOf, IBM_API_KEY, IBM_PASSWORD, ibmGrant, ibmSource } from './ibm-source.ts'
import type { ProviderRules, ProviderType } from './provider-type.ts'
import { passThrough } from './static-key.ts'
import { watsonxUrl } from './watsonx-address.ts'
import { WATSONX_PROBE_RULES } from './watsonx-probe.ts'

/** The version of the API that the translation is written for. */
const API_VERSION = '2025-02-11'

/** What a model id begins with that is a deployment's. */
const DEPLOYMENT_PREFIX = 'deployment/'

/** Watson refuses a token that died with another code than a user who may not. */
const DEAD_TOKEN: readonly DeadTokenRule[] = [
  { status: 401, when: [], unless: ['authorization_rejected'] },
]

/** What watsonx calls its own operations, below `text/`. */
const NATIVE_CHAT: readonly (readonly [Protocol, string])[] = [
  ['watsonx_chat', 'chat'],
  ['watsonx_chat_stream', 'chat_stream'],
]
const NATIVE: typeof NATIVE_CHAT = [...NATIVE_CHAT, ['watsonx_embeddings', 'embeddings']]

/** What the model gateway serves as OpenAI has it. */
const GATEWAY_PATHS: readonly (readonly [Protocol, string])[] = [
  ['openai_chat_completions', '/chat/completions'],
  ['openai_completions', '/completions'],
  ['openai_embeddings', '/embeddings'],
  ['model_discovery', '/models'],
]

/** IBM watsonx.ai: chat and embeddings translated from OpenAI's dialect, or its model gateway. */
export const watsonx: ProviderType = {
  type: 'watsonx',
  aliases: ['ibm-watsonx'],
  displayName: 'IBM watsonx.ai',
  description:
    'Granite, Llama and other models on watsonx.ai, in IBM Cloud, on AWS or on premises, as OpenAI Chat Completions and Embeddings, or as watsonx has them',
  credentialKeys: [
    {
      name: IBM_API_KEY,
      aliases: ['WATSONX_APIKEY', 'WATSONX_API_KEY'],
      description: 'API key of IBM Cloud, of the SaaS on AWS, or of a Software Hub user',
    },
    {
      name: IBM_PASSWORD,
      aliases: [],
      description: 'Password of the Software Hub user WATSONX_USERNAME',
    },
  ],
  configKeys: [
    optional('WATSONX_URL', 'https://HOST (default: https://us-south.ml.cloud.ibm.com)'),
    optional('WATSONX_PROJECT_ID', 'Project that pays; this or the space'),
    optional('WATSONX_SPACE_ID', 'Deployment space that pays; this or the project'),
    optional('WATSONX_API_VERSION', `Version of the API (default: ${API_VERSION})`),
    optional('WATSONX_MODEL_GATEWAY', 'true uses the OpenAI-compatible model gateway'),
    optional('WATSONX_AUTH', 'iam, mcsp, profile, vpc, cp4d or zen (default: by what is given)'),
    optional('WATSONX_USERNAME', 'User of Software Hub (Cloud Pak for Data)'),
    optional('IBM_IAM_URL', 'Address of IAM (default: https://iam.cloud.ibm.com)'),
    optional('IBM_PROFILE_ID', 'Id of the trusted profile'),
    optional('IBM_PROFILE_NAME', 'Name of the trusted profile'),
    optional('IBM_CR_TOKEN_FILE', 'Token of the compute resource (default: where IBM puts it)'),
    optional('IBM_VPC_METADATA_URL', 'Metadata service (default: http://169.254.169.254)'),
  ],
  example:
    'openshell provider add --type watsonx --name my-watsonx --credential IBM_CLOUD_API_KEY --config WATSONX_PROJECT_ID=PROJECT',
  tokenKey: 'IBM_WATSONX_TOKEN',
  strategyOf: () => '',
  grant: (provider, _, rules) => ibmGrant(provider, rules),
  route: (provider, modelId, rules) => ({
    shape: watsonxShape(provider, modelId, rules),
    credential: { kind: 'token' },
  }),
  probeRules: WATSONX_PROBE_RULES,
}

function watsonxShape(provider: ProviderRecord, modelId: string, rules: ProviderRules): RouteShape {
  const { origin } = watsonxUrl(provider, rules)
  const isZen = ibmSource(provider, rules) === 'zen'
  const shared = {
    auth: { kind: 'header', header: 'authorization', prefix: isZen ? 'ZenApiKey ' : 'Bearer ' },
    defaultHeaders: new Map(),
    allowHeaders: [],
    betas: null,
    deadToken: DEAD_TOKEN,
  } as const
  if (isGateway(provider)) {
    const operations = GATEWAY_PATHS.map(([protocol, path]) => passThrough(protocol, path))
    const baseUrl = `${origin}/ml/gateway/v1`
    return { ...shared, baseUrl, modelId: checkModel(modelId), operations }
  }
  const version = `version=${apiVersion(provider)}`
  const baseUrl = `${origin}/ml/v1`
  if (modelId.startsWith(DEPLOYMENT_PREFIX)) {
    const deployment = checkDeployment(modelId.slice(DEPLOYMENT_PREFIX.length))
    const prefix = '/deployments/{model}/text/'
    const chat = chatOperation(prefix, version, new Map())
    const native = nativeOperations(NATIVE_CHAT, { provider, prefix, address: new Map() })
    return { ...shared, baseUrl, modelId: deployment, operations: [chat, ...native] }
  }
  const address = new Map([['model_id', checkModel(modelId)], payer(provider)])
  const embeddings = translated('openai_embeddings', {
    path: `/text/embeddings?${version}`,
    streamPath: '',
    translation: { name: 'watsonx_embeddings', options: address },
  })
  const chat = chatOperation('/text/', version, address)
  const native = nativeOperations(NATIVE, { provider, prefix: '/text/', address })
  return { ...shared, baseUrl, modelId, operations: [chat, embeddings, ...native] }
}

/** An agent that speaks watsonx's dialect knows its version, unless the operator chose one. */
function nativeOperations(
  natives: typeof NATIVE,
  options: {
    readonly provider: ProviderRecord
    readonly prefix: string
    readonly address: ReadonlyMap<string, string>
  },
): readonly Operation[] {
  const { provider, prefix, address } = options
  const isChosen = configOf(provider, 'WATSONX_API_VERSION') !== ''
  const query = isChosen ? `?version=${apiVersion(provider)}` : ''
  return natives.map(([protocol, name]) => ({
    ...translated(protocol, {
      path: `${prefix}${name}${query}`,
      streamPath: '',
      translation: { name: 'watsonx_native', options: address },
    }),
    dropQuery: ['model_id', 'project_id', 'space_id'],
  }))
}

function chatOperation(
  path: string,
  version: string,
  options: ReadonlyMap<string, string>,
): Operation {
  return translated('openai_chat_completions', {
    path: `${path}chat?${version}`,
    streamPath: `${path}chat_stream?${version}`,
    translation: { name: 'watsonx_chat', options },
  })
}

function translated(
  protocol: Protocol,
  rest: Pick<Operation, 'path' | 'streamPath' | 'translation'>,
): Operation {
  const edits = { model: 'keep', version: null, removeMembers: [] } as const
  return {
    protocol,
    baseUrl: '',
    ...edits,
    dropQuery: ['*'],
    keepQuery: [],
    hasBetas: false,
    defaultMembers: [],
    ...rest,
  }
}

/** The member that says who pays. */
function payer(provider: ProviderRecord): readonly [string, string] {
  const project = configOf(provider, 'WATSONX_PROJECT_ID')
  const space = configOf(provider, 'WATSONX_SPACE_ID')
  if (project !== '' && space === '') return ['project_id', project]
  if (project === '' && space !== '') return ['space_id', space]
  const message =
    project === ''
      ? 'Neither WATSONX_PROJECT_ID nor WATSONX_SPACE_ID is configured'
      : 'WATSONX_PROJECT_ID and WATSONX_SPACE_ID are both configured, but watsonx takes only one'
  throw new AppError('invalid_config', message, {
    hint: 'Add --config WATSONX_PROJECT_ID=ID (Manage › General in the project), or a space',
  })
}

function isGateway(provider: ProviderRecord): boolean {
  const value = configOf(provider, 'WATSONX_MODEL_GATEWAY').toLowerCase()
  if (value === '' || value === 'false') return false
  if (value === 'true') return true
  throw new AppError('invalid_config', `WATSONX_MODEL_GATEWAY is "${value}", not true or false`)
}

function apiVersion(provider: ProviderRecord): string {
  const version = configOf(provider, 'WATSONX_API_VERSION')
  if (version === '') return API_VERSION
  if (/^\d{4}-\d{2}-\d{2}$/.test(version)) return version
  throw new AppError('invalid_config', `WATSONX_API_VERSION is "${version}", not YYYY-MM-DD`)
}

function checkModel(modelId: string): string {
  if (/^[\x21-\x7e]{1,256}$/.test(modelId)) return modelId
  throw new AppError('invalid_argument', 'A model id is 1 to 256 printable characters', {
    hint: 'Model ids look like ibm/granite-3-3-8b-instruct, or deployment/ID',
  })
}

/** A deployment's id becomes part of a path: nothing in it may move the request elsewhere. */
function checkDeployment(id: string): string {
  if (/^[A-Za-z0-9][\w-]{0,127}$/.test(id)) return id
  throw new AppError('invalid_argument', `"${id.slice(0, 128)}" is not a deployment's id or name`)
}

function optional(name: string, description: string) {
  return { name, description, isRequired: false }
}
