// msal-node against our Entra ID sources.
import { createPrivateKey } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { ConfidentialClientApplication } from '@azure/msal-node'
import { azureOpenai } from '../../src/providers/azure-openai.ts'
import { ACCEPT, CHARSET, callsOf, fetchAt, mustAgree, ourCalls } from './compare.mjs'

const TELEMETRY = /^(x-client-|x-ms-lib-|client-request-id)/

const EXPLAINED = [
  ['query', 'MSAL sends a number of its own, which Entra ID echoes'],
  ['form x-client-*', 'telemetry of MSAL'],
  ['form x-ms-lib-capability', 'telemetry of MSAL'],
  ['form client-request-id', 'telemetry of MSAL'],
  CHARSET,
  ACCEPT,
]

export const entraCases = [
  ['entra: client secret', lab => compare(lab, secretOf(lab))],
  ['entra: certificate', lab => compare(lab, certificateOf(lab))],
  ['entra: federated token', lab => compare(lab, federatedOf(lab))],
]

function secretOf({ azure }) {
  const secret = azure.clientSecret.reveal()
  return { theirs: { clientSecret: secret }, material: { AZURE_CLIENT_SECRET: secret } }
}

function certificateOf({ azure }) {
  const { pem, thumbprint } = azure.certificate()
  const privateKey = createPrivateKey(pem.reveal()).export({ type: 'pkcs8', format: 'pem' })
  const thumbprintSha256 = Buffer.from(thumbprint, 'base64url').toString('hex')
  return {
    theirs: { clientCertificate: { thumbprintSha256, privateKey } },
    material: { AZURE_CLIENT_CERTIFICATE: pem.reveal() },
  }
}

function federatedOf({ azure, identityToken }) {
  const { audience, subject } = azure.federation
  const token = identityToken({ audience, subject }).reveal()
  return { theirs: { clientAssertion: token }, token }
}

async function compare(lab, { theirs, material = {}, token = null }) {
  const folder = mkdtempSync(path.join(tmpdir(), 'oracle-'))
  const file = path.join(folder, 'token')
  if (token !== null) writeFileSync(file, token)
  const { tenantId, clientId } = lab.azure
  const config = {
    ...{ AZURE_AUTHORITY_HOST: lab.origin, AZURE_OPENAI_ENDPOINT: `${lab.origin}/azure` },
    ...{ AZURE_TENANT_ID: tenantId, AZURE_CLIENT_ID: clientId },
    ...(token === null ? {} : { AZURE_FEDERATED_TOKEN_FILE: file }),
  }
  try {
    const ours = await ourCalls(lab, azureOpenai, { material, config, tokenDirs: [folder] })
    const scope = new URLSearchParams(Buffer.from(ours[0].body).toString()).get('scope')
    const captured = []
    const sent = await callsOf(lab, () => tokenByLibrary(lab, { theirs, scope, captured }))
    if (sent.at(-1)?.status !== 200) throw new Error(`The lab refused MSAL: ${sent.at(-1)?.status}`)
    mustAgree(
      captured.map(call => ({ ...call, status: 200 })),
      ours,
      EXPLAINED,
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What MSAL tells about itself is taken away before the strict lab sees it. */
async function tokenByLibrary(lab, { theirs, scope, captured }) {
  const { tenantId, clientId } = lab.azure
  const tokenEndpoint = `${lab.origin}/${tenantId}/oauth2/v2.0/token`
  const edit = call => {
    const form = new URLSearchParams(call.body.toString())
    for (const name of [...form.keys()]) if (TELEMETRY.test(name)) form.delete(name)
    const headers = call.headers.filter(([name]) => !TELEMETRY.test(name.toLowerCase()))
    return { ...call, query: '', headers, body: Buffer.from(form.toString()) }
  }
  const send = fetchAt(lab, { edit, onCall: call => captured.push(call) })
  const request = async (method, url, options = {}) => {
    const answer = await send(url, { method, headers: options.headers, body: options.body })
    const body = await answer.json()
    return { headers: Object.fromEntries(answer.headers), body, status: answer.status }
  }
  const authority = `https://login.microsoftonline.com/${tenantId}`
  const application = new ConfidentialClientApplication({
    auth: {
      clientId,
      authority,
      authorityMetadata: JSON.stringify({
        token_endpoint: tokenEndpoint,
        authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
        issuer: `${authority}/v2.0`,
        jwks_uri: `${authority}/discovery/v2.0/keys`,
      }),
      ...theirs,
    },
    system: {
      networkClient: {
        sendGetRequestAsync: (url, options) => request('GET', url, options),
        sendPostRequestAsync: (url, options) => request('POST', url, options),
      },
    },
  })
  await application.acquireTokenByClientCredential({ scopes: [scope] })
}
