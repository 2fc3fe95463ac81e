import { checkEndpoint } from '../core/endpoint.ts'
import { Secret } from '../core/secret.ts'
import { type SigningKeys, signRequest } from '../core/sigv4.ts'
import { sha256 } from '../oauth/aws-signature.ts'
import { plainText } from '../oauth/plain-text.ts'
import type { Input, InputIo, Refused, RequestValue, TokenRequest } from '../oauth/token-request.ts'
import type { GoogleFile } from './google-file.ts'
import { parseMembers, plainTextRequest, subjectRefusal } from './google-subject-text.ts'
import type { ProviderRules } from './provider-type.ts'

/** AWS's own addresses for a machine's metadata; plain http, for it is the machine itself. */
const FIXED_HOSTS = ['169.254.169.254', '[fd00:ec2::254]']
const SESSION_SECONDS = '300'
const TIMEOUT_MS = 3_000

/** What the file says about the AWS machine; a null session URL means IMDSv1. */
interface AwsSource {
  readonly sessionUrl: URL | null
  readonly regionUrl: URL
  readonly rolesUrl: URL
  /** With `{region}` in it. */
  readonly verificationUrl: string
  readonly audience: string
}

/**
 * The subject token of an AWS machine: a signed GetCallerIdentity, which Google sends to AWS to learn
 * who signed it. The keys are the machine's own, from its metadata service.
 *
 * @throws AppError when the file names other addresses than that service's.
 */
export function awsSubjectToken(source: GoogleFile, audience: string, rules: ProviderRules): Input {
  if (source.raw('environment_id') !== 'aws1') {
    throw source.refusal('"credential_source.environment_id" is not "aws1"')
  }
  const hasSession = source.raw('imdsv2_session_token_url') !== undefined
  const verificationUrl = source.text('regional_cred_verification_url')
  verificationUrlOf(verificationUrl, 'us-east-1', source)
  const aws: AwsSource = {
    sessionUrl: hasSession ? metadataUrl(source, 'imdsv2_session_token_url', rules) : null,
    regionUrl: metadataUrl(source, 'region_url', rules),
    rolesUrl: metadataUrl(source, 'url', rules),
    verificationUrl,
    audience,
  }
  return { kind: 'input', read: io => readSubjectToken(aws, source, io) }
}

function metadataUrl(source: GoogleFile, name: string, { allowList }: ProviderRules): URL {
  const text = source.text(name)
  const url = URL.parse(text)
  if (url?.protocol === 'http:' && url.port === '' && FIXED_HOSTS.includes(url.hostname)) return url
  const label = `The "credential_source.${name}" of the credential file`
  return checkEndpoint(text, { label, vendorHosts: [], allowList })
}

/** The signature is good for the host that it names, so that is AWS's own STS. */
function verificationUrlOf(template: string, region: string, source: GoogleFile): URL {
  const url = URL.parse(template.replace('{region}', region))
  const isSts = /^sts(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?$/.test(url?.hostname ?? '')
  if (url !== null && url.protocol === 'https:' && url.port === '' && isSts) return url
  throw source.refusal('"credential_source.regional_cred_verification_url" is not AWS STS')
}

async function readSubjectToken(
  aws: AwsSource,
  source: GoogleFile,
  io: InputIo,
): Promise<{ readonly kind: 'value'; readonly value: Secret } | Refused> {
  const headers = await sessionHeaders(aws, io)
  if ('kind' in headers) return headers
  const ask = (url: URL) => io.mint(metadataRequest(url, headers))
  const zone = await ask(aws.regionUrl)
  if (zone.kind === 'failed') return zone
  const role = await ask(aws.rolesUrl)
  if (role.kind === 'failed') return role
  const [roleName = ''] = role.token.reveal().split('\n')
  const credentials = await ask(
    new URL(`${aws.rolesUrl.href.replace(/\/+$/, '')}/${encodeURIComponent(roleName.trim())}`),
  )
  if (credentials.kind === 'failed') return credentials
  const keys = keysOf(credentials.token)
  // An availability zone is its region and a letter.
  const region = zone.token.reveal().replace(/[a-z]$/, '')
  if (keys === null) return subjectRefusal('Q', 'AWS gave this machine no role credentials')
  if (!/^[a-z0-9-]{1,32}$/.test(region)) return subjectRefusal('X', 'AWS named no region')
  const url = verificationUrlOf(aws.verificationUrl, region, source)
  const value = signedIdentity(url, { keys, region, audience: aws.audience }, io.vendorNowMs)
  return { kind: 'value', value }
}

/** IMDSv2 wants a session first, which the other requests then name. */
async function sessionHeaders(
  { sessionUrl }: AwsSource,
  io: InputIo,
): Promise<ReadonlyMap<string, RequestValue> | Refused> {
  if (sessionUrl === null) return new Map()
  const session = await io.mint(
    plainTextRequest(sessionUrl, {
      method: 'PUT',
      headers: new Map([['x-aws-ec2-metadata-token-ttl-seconds', SESSION_SECONDS]]),
      timeoutMs: TIMEOUT_MS,
    }),
  )
  return session.kind === 'failed'
    ? session
    : new Map([['x-aws-ec2-metadata-token', session.token]])
}

function metadataRequest(url: URL, headers: ReadonlyMap<string, RequestValue>): TokenRequest {
  return plainTextRequest(url, { method: 'GET', headers, timeoutMs: TIMEOUT_MS })
}

/** The role's keys; a 200 may also say in JSON that there are none. */
function keysOf(json: Secret): SigningKeys | null {
  const members = parseMembers(json.reveal())
  const text = (name: string) => plainText(members.get(name))
  if (text('Code') !== 'Success' || text('AccessKeyId') === '' || text('SecretAccessKey') === '') {
    return null
  }
  return {
    accessKeyId: text('AccessKeyId'),
    secretAccessKey: new Secret(text('SecretAccessKey')),
    sessionToken: text('Token') === '' ? null : new Secret(text('Token')),
  }
}

/** The signed request as Google takes it: JSON, percent-encoded. */
function signedIdentity(
  url: URL,
  signer: { readonly keys: SigningKeys; readonly region: string; readonly audience: string },
  nowMs: number,
): Secret {
  const { keys, region, audience } = signer
  const headers = new Map([
    ['host', url.host],
    ['x-goog-cloud-target-resource', audience],
  ])
  const request = {
    method: 'POST',
    path: url.pathname,
    query: url.search.slice(1),
    headers,
    bodyHash: sha256.hash(''),
  }
  const scope = { service: 'sts', region, nowMs }
  const signed = new Map([...headers, ...signRequest(sha256, request, { keys, scope })])
  const list = [...signed].map(([key, value]) => ({ key, value }))
  const text = JSON.stringify({ url: url.href, method: 'POST', headers: list, body: '' })
  return new Secret(encodeURIComponent(text))
}
