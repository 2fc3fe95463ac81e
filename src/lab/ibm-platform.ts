import { type Answer, type Call, jsonAnswer, type Vendor } from './call.ts'
import { ibmIssue } from './ibm-accounts.ts'
import type { JsonObject } from './json.ts'
import { leakIn, readJsonBody } from './strict.ts'
import { issueToken } from './token-answer.ts'
import type { World } from './world.ts'

const BODY_BYTES_MAX = 65_536
const AUTHORIZE_PATH = '/icp4d-api/v1/authorize'
const CONSOLE_PATH = '/api/2.0/apikeys/token'

/** Sign-in to Software Hub, and to the console of IBM's SaaS on AWS. */
export function createIbmPlatform(world: World): Vendor {
  return {
    name: 'ibm.platform',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path === AUTHORIZE_PATH || path === CONSOLE_PATH,
    refuse: platformError,
    answer(call) {
      const leak = leakIn(call.headers, [])
      if (leak !== null) return platformError(400, leak)
      if (call.method !== 'POST' || call.query !== '') return platformError(404, 'Not found')
      const body = readJsonBody(call)
      if (typeof body === 'string') return platformError(400, body)
      return call.path === AUTHORIZE_PATH
        ? answerAuthorize(world, call, body)
        : answerConsole(world, call, body)
    },
  }
}

function answerAuthorize(world: World, call: Call, body: JsonObject): Answer {
  const { username, password, userApiKey } = world.ibm
  const { username: name, password: word, api_key: key, ...rest } = body
  if (Object.keys(rest).length > 0 || (word === undefined) === (key === undefined))
    return platformError(400, 'Expected a username, and either a password or an api_key')
  const isRight = word === password.reveal() || key === userApiKey.reveal()
  if (name !== username || !isRight) return platformError(401, 'Failed to authenticate')
  const token = issue(world, call, username)
  return jsonAnswer(200, { _messageCode_: '200', message: 'Success', token })
}

function answerConsole(world: World, call: Call, { apikey, ...rest }: JsonObject): Answer {
  if (Object.keys(rest).length > 0) return platformError(400, 'Expected an apikey alone')
  if (apikey !== world.ibm.apiKey.reveal()) return platformError(401, 'Unknown API key')
  return jsonAnswer(200, { token: issue(world, call, 'lab-service-id') })
}

function issue(world: World, call: Call, subject: string): string {
  const options = { effect: call.effect, nowMs: world.clock.nowMs() }
  return issueToken(world.tokens, ibmIssue(world, subject), options).token.value.reveal()
}

function platformError(status: number, message: string): Answer {
  return jsonAnswer(status, { _messageCode_: String(status), message })
}
