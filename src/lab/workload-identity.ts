import { type Answer, type Call, jsonAnswer, textAnswer, type Vendor } from './call.ts'
import { headerValues } from './header.ts'
import type { JsonObject } from './json.ts'
import { leakIn, readJsonBody } from './strict.ts'
import { issueToken } from './token-answer.ts'
import type { Issue } from './tokens.ts'
import type { World } from './world.ts'

const BODY_BYTES_MAX = 65_536
const ASSERTION_CHARS_MAX = 16_384
const ANTHROPIC_BETAS = ['oauth-2025-04-20', 'oidc-federation-2026-04-01']

/** What the lab's federations are called; a real account makes up its own. */
export const FEDERATION = {
  anthropic: {
    federation_rule_id: 'fdrl_lab',
    organization_id: '00000000-0000-4000-8000-000000000001',
    service_account_id: 'svac_lab',
    workspace_id: 'wrkspc_lab',
  },
  openai: { identity_provider_id: 'idp_lab', service_account_id: 'svc_lab', client_id: 'app_lab' },
} as const

/** What tells one vendor's federation from another's. */
interface Federation {
  readonly name: string
  readonly path: string
  readonly grantType: string
  /** Where the identity token stands. */
  readonly tokenField: string
  /** Members with the one value that is taken. */
  readonly fixed: Readonly<Record<string, string>>
  /** Those of them that may be left out. */
  readonly optional: readonly string[]
  readonly betas: readonly string[]
  /** Whether an identity token is taken once only. */
  readonly isOnce: boolean
  readonly issue: Pick<Issue, 'realm' | 'prefix'>
}

/** Anthropic's token endpoint for workload identities, which takes each of them once. */
export function createAnthropicToken(world: World): Vendor {
  return tokenVendor(world, {
    name: 'anthropic.token',
    path: '/anthropic/v1/oauth/token',
    grantType: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    tokenField: 'assertion',
    fixed: FEDERATION.anthropic,
    optional: ['workspace_id'],
    betas: ANTHROPIC_BETAS,
    isOnce: true,
    issue: { realm: 'anthropic', prefix: 'sk-ant-oat01-' },
  })
}

/** OpenAI's token endpoint for workload identities. */
export function createOpenaiToken(world: World): Vendor {
  return tokenVendor(world, {
    name: 'openai.token',
    path: '/openai/oauth/token',
    grantType: 'urn:ietf:params:oauth:grant-type:token-exchange',
    tokenField: 'subject_token',
    fixed: {
      ...FEDERATION.openai,
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    },
    optional: ['client_id'],
    betas: [],
    isOnce: false,
    issue: { realm: 'openai', prefix: 'lab-oai-' },
  })
}

function tokenVendor(world: World, federation: Federation): Vendor {
  return {
    name: federation.name,
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path === federation.path,
    refuse: (status, message) => refuse(status, 'invalid_request', message),
    answer(call) {
      const body = readRequest(call, federation)
      if (isAnswer(body)) return body
      const { problem, subject } = world.identities.judge(String(body[federation.tokenField]), {
        audience: `${world.origin}${federation.path}`,
        nowMs: call.nowMs,
        onceBy: federation.isOnce ? federation.name : null,
      })
      if (problem !== null) {
        const words = problem === 'used' ? 'was already used' : `is refused: ${problem}`
        return refuse(401, 'invalid_grant', `The identity token ${words}`)
      }
      const issue = { ...federation.issue, subject, randomBytes: 48 }
      const { json } = issueToken(
        world.tokens,
        { ...issue, lifetimeMs: world.tokenLifetimeMs },
        { effect: call.effect, nowMs: world.clock.nowMs() },
      )
      return textAnswer(200, json, [['cache-control', 'no-store']])
    },
  }
}

/** The body of a request that is exactly right, else why it is not. */
function readRequest(call: Call, federation: Federation): JsonObject | Answer {
  if (call.method !== 'POST') return refuse(405, 'invalid_request', 'Method must be POST')
  const leak = leakIn(call.headers, [])
  if (leak !== null) return refuse(400, 'invalid_request', leak)
  const betas = headerValues(call.headers, 'anthropic-beta').join(',')
  if (betas !== federation.betas.join(','))
    return refuse(400, 'invalid_request', `anthropic-beta "${betas}" is not what is needed`)
  const body = readJsonBody(call)
  if (typeof body === 'string') return refuse(400, 'invalid_request', body)
  const { tokenField, fixed, optional, grantType } = federation
  const known = ['grant_type', tokenField, ...Object.keys(fixed)]
  const unknown = Object.keys(body).find(name => !known.includes(name))
  if (unknown !== undefined) return refuse(400, 'invalid_request', `Unknown member ${unknown}`)
  if (body.grant_type !== grantType) return refuse(400, 'unsupported_grant_type', 'Unknown grant')
  const token = body[tokenField]
  if (typeof token !== 'string' || token.length > ASSERTION_CHARS_MAX)
    return refuse(400, 'invalid_request', `${tokenField} is missing or too long`)
  const wrong = Object.entries(fixed).find(([name, value]) => {
    const isLeftOut = body[name] === undefined && optional.includes(name)
    return body[name] !== value && !isLeftOut
  })
  return wrong === undefined ? body : refuse(401, 'invalid_grant', `No such ${wrong[0]}`)
}

function isAnswer(value: JsonObject | Answer): value is Answer {
  return value.body instanceof Uint8Array
}

function refuse(status: number, error: string, description: string): Answer {
  return jsonAnswer(status, { error, error_description: description })
}
