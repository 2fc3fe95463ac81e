// google-auth-library against our Google sources.
import { createPrivateKey, sign } from 'node:crypto'
import { GoogleAuth, Impersonated, UserRefreshClient } from 'google-auth-library'
import { googleVertexAi } from '../../src/providers/google-vertex-ai.ts'
import {
  ACCEPT,
  CHARSET,
  callsOf,
  fetchAt,
  mustAgree,
  ourCalls,
  readAssertion,
} from './compare.mjs'

const CLOUD_PLATFORM = 'https://www.googleapis.com/auth/cloud-platform'

const METRICS = 'the library counts its users'

const ASSERTED = [
  [
    'assertion claim aud',
    'the library knows one token URL; ours is the token_uri of the key file (AIP-4112)',
  ],
  ['assertion header typ', 'Google’s guide has it in its example; the library leaves it out'],
  ['assertion header kid', 'AIP-4112: spares Google the search among the account’s keys'],
  ['header x-goog-api-client', METRICS],
  CHARSET,
]
const SIGN_IN = [CHARSET, ACCEPT, ['header x-goog-api-client', METRICS]]
const FEDERATED = [
  ['1 header x-goog-api-client', METRICS],
  ['2 header x-goog-api-client', METRICS],
  [`2 ${CHARSET[0]}`, CHARSET[1]],
]
const IMPERSONATED = [
  [`1 ${CHARSET[0]}`, CHARSET[1]],
  [`1 ${ACCEPT[0]}`, ACCEPT[1]],
  [`2 ${ACCEPT[0]}`, ACCEPT[1]],
  ['1 header x-goog-api-client', METRICS],
  ['2 header x-goog-api-client', METRICS],
  ['2 json delegates', 'an empty list says as much as none'],
]

export const googleCases = [
  ['google: service account, by signed assertion', serviceAccount],
  ['google: a person’s sign-in, by refresh token', lab => byFile(lab, 'authorized_user', SIGN_IN)],
  ['google: workload identity from a URL', lab => byFile(lab, 'external_account_url', FEDERATED)],
  ['google: impersonated service account', impersonated],
]

/** The library's audience is Google's whatever the key file says, and its header is bare: signed anew. */
async function serviceAccount(lab) {
  const key = JSON.parse(lab.serviceAccountKey())
  const captured = []
  const edit = call => {
    const form = new URLSearchParams(call.body.toString())
    form.set('assertion', forLab(form.get('assertion'), key))
    return { ...call, body: Buffer.from(form.toString()) }
  }
  const fetchImplementation = fetchAt(lab, { edit, onCall: call => captured.push(call) })
  const [call] = await callsOf(lab, () => tokenByLibrary(key, fetchImplementation))
  const ours = await ourCalls(lab, googleVertexAi, {
    material: { GOOGLE_SERVICE_ACCOUNT_JSON: JSON.stringify(key) },
    config: { VERTEX_AI_REGION: 'us-east1' },
  })
  if (call?.status !== 200) throw new Error(`The lab refused the other claims: ${call?.status}`)
  const theirs = captured.map(one => ({ ...one, status: 200 }))
  mustAgree(theirs, ours, ASSERTED)
}

function forLab(assertion, key) {
  const { header, claims } = readAssertion(assertion)
  const encode = value => Buffer.from(JSON.stringify(value)).toString('base64url')
  const full = { ...header, typ: 'JWT', kid: key.private_key_id }
  const signed = `${encode(full)}.${encode({ ...claims, aud: key.token_uri })}`
  const signature = sign('sha256', Buffer.from(signed), createPrivateKey(key.private_key))
  return `${signed}.${signature.toString('base64url')}`
}

async function tokenByLibrary(credentials, fetchImplementation) {
  const auth = new GoogleAuth({
    credentials,
    scopes: [CLOUD_PLATFORM],
    clientOptions: { transporterOptions: { fetchImplementation } },
  })
  const client = await auth.getClient()
  await client.getAccessToken()
}

async function byFile(lab, kind, explained) {
  const file = lab.googleCredentials(kind)
  await compare(lab, { file, explained, ask: () => tokenByLibrary(JSON.parse(file), fetchAt(lab)) })
}

/** Made by hand, as the library's reader of such files goes to Google for the source's token. */
async function impersonated(lab) {
  const file = lab.googleCredentials('impersonated_service_account')
  const { source_credentials: source, service_account_impersonation_url: url } = JSON.parse(file)
  const [, targetPrincipal] = /serviceAccounts\/([^:]+):/.exec(url) ?? []
  const sourceClient = new UserRefreshClient({
    ...{ clientId: source.client_id, clientSecret: source.client_secret },
    refreshToken: source.refresh_token,
    transporterOptions: { fetchImplementation: fetchAt(lab) },
  })
  const client = new Impersonated({
    ...{ sourceClient, targetPrincipal, delegates: [], lifetime: 3_600 },
    targetScopes: [CLOUD_PLATFORM],
  })
  await compare(lab, { file, explained: IMPERSONATED, ask: () => client.getAccessToken() })
}

async function compare(lab, { file, explained, ask }) {
  const theirs = await callsOf(lab, ask)
  const ours = await ourCalls(lab, googleVertexAi, {
    material: { GOOGLE_APPLICATION_CREDENTIALS_JSON: file },
    config: { VERTEX_AI_PROJECT_ID: 'demo-project', VERTEX_AI_REGION: 'us-east1' },
  })
  mustAgree(theirs, ours, explained)
}
