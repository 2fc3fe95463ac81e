import { Secret } from '../../src/core/secret.ts'
import type { Judge } from '../../src/oauth/token-request.ts'
import type { ProviderRules } from '../../src/providers/provider-type.ts'
import { providerTypes } from '../../src/providers/registry.ts'
import { aProvider, present } from '../store/records.ts'
import { keyFile } from '../support/service-account.ts'
import { NOW_MS } from './vendor-answers.ts'

const FILE = '/var/run/secrets/token'
const GOOGLE_KEY = 'GOOGLE_APPLICATION_CREDENTIALS_JSON'
const PERSON = { type: 'authorized_user', client_id: 'c', client_secret: 's', refresh_token: 'r' }
const WORKLOAD = {
  type: 'external_account',
  audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/i',
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  token_url: 'https://sts.googleapis.com/v1/token',
  credential_source: { file: FILE },
}
const IMPERSONATE =
  'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/r@p.iam.gserviceaccount.com:generateAccessToken'
const VERTEX = { VERTEX_AI_PROJECT_ID: 'p', VERTEX_AI_REGION: 'us-east1' }
const ENTRA = {
  AZURE_OPENAI_ENDPOINT: 'https://r.openai.azure.com',
  AZURE_TENANT_ID: '00000000-0000-4000-8000-000000000001',
  AZURE_CLIENT_ID: '00000000-0000-4000-8000-000000000002',
}
const PROJECT = { WATSONX_PROJECT_ID: '00000000-0000-4000-8000-000000000003' }
const OAUTH2 = {
  OAUTH2_TOKEN_URL: 'https://issuer.example/token',
  OAUTH2_BASE_URL: 'https://api.example/v1',
  OAUTH2_CLIENT_ID: 'client',
}
const ROLE = 'arn:aws:iam::123456789012:role/bedrock'

type Texts = Readonly<Record<string, string>>

/** What each way to a token is configured with: type, material, configuration. */
const WAYS: Readonly<Record<string, readonly [type: string, material: Texts, config: Texts]>> = {
  'a Google key': ['google-vertex-ai', { GOOGLE_SERVICE_ACCOUNT_JSON: keyFile() }, VERTEX],
  'a Google sign-in': ['google-vertex-ai', { [GOOGLE_KEY]: JSON.stringify(PERSON) }, VERTEX],
  'a Google federation': ['google-vertex-ai', { [GOOGLE_KEY]: JSON.stringify(WORKLOAD) }, VERTEX],
  'a Google impersonation': [
    'google-vertex-ai',
    {
      [GOOGLE_KEY]: JSON.stringify({
        type: 'impersonated_service_account',
        service_account_impersonation_url: IMPERSONATE,
        source_credentials: PERSON,
      }),
    },
    VERTEX,
  ],
  'Google’s metadata server': [
    'google-vertex-ai',
    {},
    { ...VERTEX, GCE_METADATA_HOST: 'metadata.google.internal' },
  ],
  'an Entra secret': ['azure-openai', { AZURE_CLIENT_SECRET: 's' }, ENTRA],
  'an Entra federation': ['azure-openai', {}, { ...ENTRA, AZURE_FEDERATED_TOKEN_FILE: FILE }],
  'an Azure machine': [
    'azure-openai',
    {},
    { AZURE_OPENAI_ENDPOINT: ENTRA.AZURE_OPENAI_ENDPOINT, AZURE_CLIENT_ID: ENTRA.AZURE_CLIENT_ID },
  ],
  'an IBM key': ['watsonx', { IBM_CLOUD_API_KEY: 'k' }, PROJECT],
  'an IBM profile': ['watsonx', {}, { ...PROJECT, IBM_PROFILE_ID: 'Profile-1' }],
  'IBM’s Software Hub': [
    'watsonx',
    { WATSONX_PASSWORD: 'p' },
    { ...PROJECT, WATSONX_URL: 'https://hub.example', WATSONX_USERNAME: 'ada' },
  ],
  'an OAuth 2 client': ['oauth2', { OAUTH2_CLIENT_SECRET: 's' }, OAUTH2],
  'an OAuth 2 refresh token': [
    'oauth2',
    { OAUTH2_REFRESH_TOKEN: 'r' },
    { ...OAUTH2, OAUTH2_CLIENT_AUTH: 'none' },
  ],
  'an OAuth 2 exchange': ['oauth2', {}, { ...OAUTH2, OAUTH2_SUBJECT_TOKEN_FILE: FILE }],
  'an AWS web identity': [
    'aws-bedrock',
    {},
    { AWS_REGION: 'eu-west-1', AWS_ROLE_ARN: ROLE, AWS_WEB_IDENTITY_TOKEN_FILE: FILE },
  ],
  'AWS keys': [
    'aws-bedrock',
    { AWS_ACCESS_KEY_ID: 'AKIAMADEUP', AWS_SECRET_ACCESS_KEY: 's' },
    { AWS_REGION: 'eu-west-1' },
  ],
  'an AWS container': [
    'aws-bedrock',
    {},
    { AWS_REGION: 'eu-west-1', AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2/credentials/x' },
  ],
  'OpenAI’s federation': [
    'openai',
    {},
    {
      OPENAI_IDENTITY_PROVIDER_ID: 'idp-1',
      OPENAI_SERVICE_ACCOUNT_ID: 'account-1',
      OPENAI_IDENTITY_TOKEN_FILE: FILE,
    },
  ],
  'Anthropic’s federation': [
    'anthropic',
    {},
    {
      ANTHROPIC_FEDERATION_RULE_ID: 'fdrl_1',
      ANTHROPIC_ORGANIZATION_ID: 'org-1',
      ANTHROPIC_SERVICE_ACCOUNT_ID: 'svac_1',
      ANTHROPIC_IDENTITY_TOKEN_FILE: FILE,
    },
  ],
}

const RULES: ProviderRules = {
  allowList: ['issuer.example', 'api.example', 'hub.example'],
  subjectTokenDirs: ['/var/run/secrets'],
  mayExecute: false,
}

/** Every way to a token that asks an endpoint, with the judge of that endpoint's answers. */
export function minters(): readonly { readonly name: string; readonly judge: Judge }[] {
  const missing = providerTypes.filter(
    ({ type, tokenKey }) => tokenKey !== '' && !Object.values(WAYS).some(way => way[0] === type),
  )
  if (missing.length > 0) throw new Error(`No way to a token of ${missing.map(one => one.type)}`)
  return Object.entries(WAYS).map(([name, [typeName, material, config]]) => {
    const type = present(providerTypes.find(one => one.type === typeName))
    const secrets = Object.entries(material).map(
      ([key, value]) => [key, new Secret(value)] as const,
    )
    const provider = aProvider({
      ...{ type: typeName, material: new Map(secrets), config: new Map(Object.entries(config)) },
    })
    const grant = present(type.grant(provider, NOW_MS, RULES))
    if (grant.kind !== 'request') throw new Error(`${name} asks no endpoint`)
    return { name, judge: grant.judge }
  })
}
