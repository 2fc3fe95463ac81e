import { type Answer, type Call, jsonAnswer, textAnswer, type Vendor } from './call.ts'
import { headerValues } from './header.ts'
import { CR_TOKEN_AUDIENCE, ibmIssue } from './ibm-accounts.ts'
import { isObject } from './json.ts'
import { bearerOf, hasContentType, leakIn, readJsonBody } from './strict.ts'
import { issueToken } from './token-answer.ts'
import type { World } from './world.ts'

const BODY_BYTES_MAX = 65_536
const TOKEN_PATH = '/identity/token'
const METADATA_PATH = /^\/instance_identity\/v1\/(token|iam_token)$/
const GRANT = 'urn:ibm:params:oauth:grant-type:'
const INSTANCE = 'lab-instance'

/** A refusal of IAM: its own code, and what it says. */
interface Refusal {
  readonly code: string
  readonly message: string
}

/** IBM Cloud IAM: tokens for an API key or for a compute resource's trusted profile. */
export function createIbmIam(world: World): Vendor {
  return {
    name: 'ibm.iam',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path === TOKEN_PATH,
    answer: call => answerToken(world, call),
    refuse: (status, message) => iamError(status, { code: 'BXNIM0001E', message }),
  }
}

function answerToken(world: World, call: Call): Answer {
  const form = readForm(call)
  if ('code' in form) return iamError(400, form)
  const grant = form.fields.get('grant_type') ?? ''
  const verdict =
    grant === `${GRANT}apikey`
      ? judgeApiKey(world, form.fields)
      : grant === `${GRANT}cr-token`
        ? judgeCrToken(world, form.fields, call.nowMs)
        : invalid('grant_type')
  if ('code' in verdict) return iamError(400, verdict)
  const { token, json } = issueToken(world.tokens, ibmIssue(world, verdict.subject), {
    effect: call.effect,
    nowMs: world.clock.nowMs(),
  })
  const expiration = Math.floor(token.expiresAtMs / 1_000)
  const rest = `"refresh_token":"not_supported","expiration":${expiration},"scope":"ibm openid"`
  return textAnswer(200, `${json.slice(0, -1)},${rest}}`, [['cache-control', 'no-store']])
}

type Verdict = { readonly subject: string } | Refusal

function judgeApiKey(world: World, fields: ReadonlyMap<string, string>): Verdict {
  const unknown = unknownField(fields, ['grant_type', 'apikey', 'response_type'])
  if (unknown !== null) return unknown
  const key = fields.get('apikey') ?? ''
  if (key === '') return missing('apikey')
  if (key === world.ibm.apiKey.reveal()) return { subject: 'IBMid-lab' }
  return { code: 'BXNIM0415E', message: 'Provided API key could not be found.' }
}

function judgeCrToken(world: World, fields: ReadonlyMap<string, string>, nowMs: number): Verdict {
  const unknown = unknownField(fields, ['grant_type', 'cr_token', 'profile_id', 'profile_name'])
  if (unknown !== null) return unknown
  const token = fields.get('cr_token') ?? ''
  if (token === '') return missing('cr_token')
  const named = [fields.get('profile_id'), fields.get('profile_name')].filter(
    one => one !== undefined,
  )
  if (named.length === 0) return missing('profile_id')
  const known: readonly string[] = [world.ibm.profileId, world.ibm.profileName]
  if (!named.every(name => known.includes(name))) {
    return { code: 'BXNIM0513E', message: 'No trusted profile could be found for the request.' }
  }
  const { problem } = world.identities.judge(token, {
    ...{ audience: CR_TOKEN_AUDIENCE, nowMs, onceBy: null },
  })
  if (problem === 'expired') {
    return { code: 'BXNIM0438E', message: 'The compute resource token is expired.' }
  }
  if (problem !== null) {
    return { code: 'BXNIM0437E', message: `The compute resource token is not valid: ${problem}` }
  }
  return { subject: world.ibm.profileId }
}

function readForm(call: Call): { readonly fields: ReadonlyMap<string, string> } | Refusal {
  const leak = leakIn(call.headers, [])
  if (call.method !== 'POST' || call.query !== '') return invalid('method or query')
  if (leak !== null) return { code: 'BXNIM0106E', message: leak }
  if (!hasContentType(call, 'application/x-www-form-urlencoded')) return invalid('Content-Type')
  const form = new URLSearchParams(Buffer.from(call.body).toString('latin1'))
  const names = [...form.keys()]
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  return twice === undefined ? { fields: new Map(form) } : invalid(twice)
}

function unknownField(
  fields: ReadonlyMap<string, string>,
  known: readonly string[],
): Refusal | null {
  const unknown = [...fields.keys()].find(name => !known.includes(name))
  return unknown === undefined ? null : invalid(unknown)
}

function missing(name: string): Refusal {
  return { code: 'BXNIM0109E', message: `Property missing or empty in request: ${name}` }
}

function invalid(name: string): Refusal {
  return { code: 'BXNIM0106E', message: `Property is not valid in request: ${name}` }
}

function iamError(status: number, { code, message }: Refusal): Answer {
  const context = { requestId: 'lab', requestType: 'incoming.Identity_Token', locale: 'en_US' }
  return jsonAnswer(status, { context, errorCode: code, errorMessage: message })
}

/** The metadata service of a VPC instance: its identity, and an IAM token for that. */
export function createIbmMetadata(world: World): Vendor {
  return {
    name: 'ibm.metadata',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => METADATA_PATH.test(path),
    answer: call => answerMetadata(world, call),
    refuse: metadataError,
  }
}

function answerMetadata(world: World, call: Call): Answer {
  const isIdentity = call.path.endsWith('/token')
  const leak = leakIn(call.headers, isIdentity ? [] : ['authorization'])
  if (leak !== null) return metadataError(400, leak)
  if (call.method !== (isIdentity ? 'PUT' : 'POST')) return metadataError(405, 'Wrong method')
  if (headerValues(call.headers, 'metadata-flavor').join() !== 'ibm')
    return metadataError(400, 'Metadata-Flavor must be ibm')
  if (!/^\?version=\d{4}-\d\d-\d\d$/.test(call.query))
    return metadataError(400, 'A version is required')
  const body = readJsonBody(call)
  if (typeof body === 'string') return metadataError(400, body)
  if (isIdentity) {
    const { expires_in: seconds = 300, ...rest } = body
    if (typeof seconds !== 'number' || seconds < 5 || seconds > 3_600 || !isEmpty(rest))
      return metadataError(400, 'expires_in must be from 5 to 3600')
    return issueAt(world, call, {
      ...{ realm: 'ibm-instance', subject: INSTANCE, lifetimeMs: seconds * 1_000 },
      ...{ prefix: 'lab-instance-', randomBytes: 96 },
    })
  }
  if (world.tokens.judge(bearerOf(call.headers) ?? '', 'ibm-instance', call.nowMs) !== 'valid')
    return metadataError(401, 'The instance identity token is not valid')
  const { trusted_profile: profile, ...rest } = body
  const { profileId, profileName } = world.ibm
  const isKnown =
    profile === undefined ||
    (isObject(profile) && (profile.id === profileId || profile.name === profileName))
  if (!isEmpty(rest)) return metadataError(400, 'Unknown members in the body')
  if (!isKnown) return metadataError(403, 'The trusted profile does not link this instance')
  return issueAt(world, call, ibmIssue(world, profileId))
}

function issueAt(world: World, call: Call, issue: Parameters<typeof issueToken>[1]): Answer {
  const nowMs = world.clock.nowMs()
  const { token, json } = issueToken(world.tokens, issue, { effect: call.effect, nowMs })
  const at = (ms: number) => JSON.stringify(new Date(ms).toISOString())
  const times = `"created_at":${at(token.issuedAtMs)},"expires_at":${at(token.expiresAtMs)}`
  return textAnswer(200, `${json.slice(0, -1)},${times}}`)
}

function metadataError(status: number, message: string): Answer {
  return jsonAnswer(status, { errors: [{ code: `metadata_${status}`, message }], trace: 'lab' })
}

function isEmpty(object: object): boolean {
  return Object.keys(object).length === 0
}
