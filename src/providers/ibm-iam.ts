import type { Secret } from '../core/secret.ts'
import { TOKEN_REQUEST_DEFAULTS, textOfFile, tokenOf } from '../oauth/mint.ts'
import type {
  Input,
  InputValue,
  Refused,
  RequestValue,
  TokenRequest,
} from '../oauth/token-request.ts'
import { ibmLeadMs, processIamAnswer } from './ibm-answers.ts'

const METADATA_TIMEOUT_MS = 3_000
const IDENTITY_TOKEN_SECONDS = 300
const METADATA_VERSION = '2022-03-01'

/** Where IBM's own compute services put the token of a compute resource. */
const CR_TOKEN_FILES = [
  '/var/run/secrets/tokens/vault-token',
  '/var/run/secrets/tokens/sa-token',
  '/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token',
]

/** A trusted profile, by id or by name; the other is ''. */
export interface TrustedProfile {
  readonly id: string
  readonly name: string
}

interface IamOptions {
  /** IAM's address, already held against the allowed hosts. */
  readonly iamUrl: URL
  readonly configuredAtMs: number
}

/** The grant of an API key. The refresh token that comes with its tokens is of no use. */
export function apiKeyGrant(apiKey: Secret, options: IamOptions): TokenRequest {
  return iamRequest(options, [
    ['grant_type', 'urn:ibm:params:oauth:grant-type:apikey'],
    ['apikey', apiKey],
    ['response_type', 'cloud_iam'],
  ])
}

/** The grant of a trusted profile, by the token of the compute resource that the gateway runs on. */
export function profileGrant(
  profile: TrustedProfile,
  options: IamOptions & {
    /** '' looks where IBM's own services put it. */
    readonly tokenFile: string
    readonly folders: readonly string[]
  },
): TokenRequest {
  const files = options.tokenFile === '' ? CR_TOKEN_FILES : [options.tokenFile]
  return iamRequest(options, [
    ['grant_type', 'urn:ibm:params:oauth:grant-type:cr-token'],
    ['cr_token', firstFile(files, options.folders)],
    ...profileFields(profile).map(([name, value]) => [`profile_${name}`, value] as const),
  ])
}

/** The grant of a VPC instance: its identity token for an IAM token, both from its metadata service. */
export function vpcGrant(
  profile: TrustedProfile,
  options: { readonly metadataUrl: URL; readonly configuredAtMs: number },
): TokenRequest {
  const { configuredAtMs } = options
  const shared = {
    ...TOKEN_REQUEST_DEFAULTS,
    timeoutMs: METADATA_TIMEOUT_MS,
    judge: (answer, nowMs) => processIamAnswer(answer, nowMs, { configuredAtMs }),
    leadMs: ibmLeadMs,
  } satisfies Partial<TokenRequest>
  const identity: TokenRequest = {
    ...shared,
    method: 'PUT',
    url: metadataPath(options.metadataUrl, 'token'),
    headers: new Map([['metadata-flavor', 'ibm']]),
    body: { kind: 'json', members: new Map([['expires_in', IDENTITY_TOKEN_SECONDS]]) },
  }
  const trusted = profileFields(profile)
  return {
    ...shared,
    url: metadataPath(options.metadataUrl, 'iam_token'),
    headers: new Map<string, RequestValue>([
      ['metadata-flavor', 'ibm'],
      ['authorization', tokenOf(identity, 'Bearer ')],
    ]),
    body: {
      kind: 'json',
      members: new Map(
        trusted.length === 0 ? [] : [['trusted_profile', Object.fromEntries(trusted)]],
      ),
    },
  }
}

function iamRequest(
  { iamUrl, configuredAtMs }: IamOptions,
  fields: readonly (readonly [string, RequestValue])[],
): TokenRequest {
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: new URL(`${iamUrl.href.replace(/\/+$/, '')}/identity/token`),
    body: { kind: 'form', fields: new Map(fields) },
    judge: (answer, nowMs) => processIamAnswer(answer, nowMs, { configuredAtMs }),
    leadMs: ibmLeadMs,
  }
}

function profileFields({ id, name }: TrustedProfile): readonly (readonly [string, string])[] {
  const fields = [['id', id] as const, ['name', name] as const]
  return fields.filter(([, value]) => value !== '')
}

function metadataPath(base: URL, resource: string): URL {
  return new URL(`/instance_identity/v1/${resource}?version=${METADATA_VERSION}`, base)
}

/** The first of the files that is there, looked for each time. */
function firstFile(files: readonly string[], folders: readonly string[]): Input {
  return {
    kind: 'input',
    async read(io, signal) {
      const [first = '', ...others] = files
      const found: InputValue | Refused = await textOfFile(first, folders).read(io, signal)
      if (found.kind === 'value' || others.length === 0) return found
      return firstFile(others, folders).read(io, signal)
    },
  }
}
