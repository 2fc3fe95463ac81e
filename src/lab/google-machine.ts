import { type Answer, type Call, jsonAnswer, textAnswer, type Vendor } from './call.ts'
import { headerValues } from './header.ts'
import { leakIn } from './strict.ts'
import { issueToken } from './token-answer.ts'
import type { World } from './world.ts'

const BODY_BYTES_MAX = 1_024
const METADATA = '/computeMetadata/v1/instance/service-accounts/default/token'
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const SUBJECT_TOKEN = '/google/subject-token'
const AWS = '/google/aws/latest/'
const AWS_ROLE = 'lab-role'
const FLAVOR = ['metadata-flavor', 'Google'] as const

/** The metadata server of a pretend machine on Google Cloud, which has a service account. */
export function createGoogleMetadata(world: World): Vendor {
  return {
    name: 'google.metadata',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path.startsWith('/computeMetadata/'),
    answer: call => answerMetadata(world, call),
    refuse: (status, message) => plain(status, message, [FLAVOR]),
  }
}

function answerMetadata(world: World, call: Call): Answer {
  const leak = leakIn(call.headers, [])
  if (leak !== null) return plain(400, leak, [FLAVOR])
  const isOurs = headerValues(call.headers, 'metadata-flavor')[0] === 'Google'
  if (!isOurs || headerValues(call.headers, 'x-forwarded-for').length > 0)
    return plain(403, 'Missing Metadata-Flavor:Google header.', [FLAVOR])
  if (call.method !== 'GET' || call.path !== METADATA) return plain(404, 'Not found', [FLAVOR])
  const query = new URLSearchParams(call.query)
  if (query.size > 1 || (query.get('scopes') ?? SCOPE) !== SCOPE)
    return plain(403, 'Unknown scopes', [FLAVOR])
  const { json } = issueToken(
    world.tokens,
    {
      ...{ realm: 'google', subject: 'machine', lifetimeMs: world.tokenLifetimeMs },
      ...{ prefix: 'ya29.c.', randomBytes: 768 },
    },
    { effect: call.effect, nowMs: world.clock.nowMs() },
  )
  return textAnswer(200, json, [FLAVOR])
}

/** Where pretend machines elsewhere get what they exchange: a plain URL, and AWS's metadata. */
export function createGoogleSubjects(world: World): Vendor {
  const sessions = new Set<string>()
  return {
    name: 'google.subject',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path === SUBJECT_TOKEN || path.startsWith(AWS),
    answer: call =>
      call.path === SUBJECT_TOKEN
        ? answerSubjectToken(world, call)
        : answerAws(world, call, sessions),
    refuse: (status, message) => plain(status, message),
  }
}

function answerSubjectToken({ googleIdentities, identities }: World, call: Call): Answer {
  const [shown] = headerValues(call.headers, 'x-lab-source')
  if (call.method !== 'GET' || shown !== googleIdentities.sourceHeader.reveal())
    return plain(403, 'Who asks?')
  const token = identities.issue({ audience: googleIdentities.pool })
  return jsonAnswer(200, { value: token.reveal() })
}

function answerAws(world: World, call: Call, sessions: Set<string>): Answer {
  const operation = `${call.method} ${call.path.slice(AWS.length)}`
  if (operation === 'PUT api/token') {
    const [seconds = ''] = headerValues(call.headers, 'x-aws-ec2-metadata-token-ttl-seconds')
    if (!/^\d{1,5}$/.test(seconds)) return plain(400, 'Bad Request')
    const session = world.newId()
    sessions.add(session)
    return plain(200, session)
  }
  const [session = ''] = headerValues(call.headers, 'x-aws-ec2-metadata-token')
  if (!sessions.has(session)) return plain(401, 'Unauthorized')
  const { machine } = world.googleIdentities
  switch (operation) {
    case 'GET meta-data/placement/availability-zone':
      return plain(200, 'eu-central-1b')
    case 'GET meta-data/iam/security-credentials':
      return plain(200, AWS_ROLE)
    case `GET meta-data/iam/security-credentials/${AWS_ROLE}`:
      return jsonAnswer(200, {
        Code: 'Success',
        Type: 'AWS-HMAC',
        AccessKeyId: machine.accessKeyId,
        SecretAccessKey: machine.secretAccessKey.reveal(),
        Token: machine.sessionToken.reveal(),
        Expiration: new Date(call.nowMs + 21_600_000).toISOString(),
      })
    default:
      return plain(404, 'Not Found')
  }
}

function plain(
  status: number,
  text: string,
  headers: readonly (readonly [string, string])[] = [],
): Answer {
  return {
    status,
    headers: [['content-type', 'text/plain'], ...headers],
    body: new TextEncoder().encode(text),
  }
}
