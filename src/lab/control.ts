import { createHash } from 'node:crypto'
import { AppError } from '../core/errors.ts'
import { awsKeys } from './aws.ts'
import { type Answer, type Call, jsonAnswer, textAnswer } from './call.ts'
import { type Header, headerValues } from './header.ts'
import { ibmSettings } from './ibm-accounts.ts'
import type { JournalEntry } from './journal.ts'
import { federationKeys, handOutClient, handOutIdentity } from './oauth-handout.ts'
import type { Lab } from './running-lab.ts'
import { CREDENTIAL_HEADERS } from './strict.ts'

const JOURNAL_LIMIT_DEFAULT = 100

type Request = Pick<Call, 'method' | 'path' | 'query' | 'headers' | 'body'>

/**
 * The lab's own API, below `/lab/`: what a person or another program does to a running lab.
 *
 * - `GET status` counts, tokens and faults
 * - `GET journal?vendor=V&after=ID&limit=N` the newest calls, credentials by name only;
 *   `GET journal/ID/body` one call's body, byte by byte
 * - `GET service-account.json?email=E`, `GET keys`
 * - `POST oauth-client?method=M&algorithm=A&grace=SPAN&rotating=false` registers one,
 *   `POST oauth-client/disable?id=I`, `GET identity-token?audience=A&lifetime=SPAN`
 * - `POST azure-role?assigned=false` takes the role away from the identities on Azure
 * - `GET faults`, `POST faults` (text: one command a line; JSON: one command as an array of words),
 *   `DELETE faults?target=T`
 * - `POST revoke?id=I&realm=R&subject=S`, `POST disable?email=E`
 */
export function answerControl(lab: Lab, request: Request): Answer {
  const parameters = new URLSearchParams(request.query)
  const operation = `${request.method} ${request.path.slice('/lab/'.length)}`
  const bodyOf = /^GET journal\/(\d{1,15})\/body$/.exec(operation)?.[1]
  if (bodyOf !== undefined) return journalBody(lab, Number(bodyOf))
  switch (operation) {
    case 'GET status':
      return jsonAnswer(200, statusOf(lab))
    case 'GET journal':
      return jsonAnswer(200, journalPage(lab, parameters))
    case 'GET service-account.json':
      return textAnswer(200, lab.serviceAccountKey(filterOf(parameters, ['email'])))
    case 'GET google-credentials.json': {
      const { kind = '', ...rest } = Object.fromEntries(parameters)
      const file = lab.googleCredentials(kind, rest)
      return file === null ? refuse(404, `No credentials of kind "${kind}"`) : textAnswer(200, file)
    }
    case 'GET keys':
      return jsonAnswer(200, {
        openai: lab.openaiKey().reveal(),
        anthropic: lab.anthropicKey().reveal(),
        azure: azureKeys(lab),
        aws: awsKeys(lab),
        ibm: ibmSettings(lab),
        federation: federationKeys(lab),
      })
    case 'POST azure-role':
      lab.azure.assignRole(parameters.get('assigned') !== 'false')
      return jsonAnswer(200, { assigned: lab.azure.hasRole() })
    case 'POST oauth-client':
      return handOutClient(lab, parameters)
    case 'POST oauth-client/disable': {
      const isKnown = lab.disableOauthClient(parameters.get('id') ?? '')
      return isKnown ? jsonAnswer(200, { disabled: true }) : refuse(404, 'No such client')
    }
    case 'GET identity-token':
      return handOutIdentity(lab, parameters)
    case 'GET faults':
      return jsonAnswer(200, lab.faults.list())
    case 'POST faults':
      return setFaults(lab, request)
    case 'DELETE faults':
      lab.faults.clear(parameters.get('target') ?? '*')
      return jsonAnswer(200, lab.faults.list())
    case 'POST revoke': {
      const filter = filterOf(parameters, ['id', 'realm', 'subject'])
      return jsonAnswer(200, { revoked: lab.revokeTokens(filter) })
    }
    case 'POST disable': {
      const isKnown = lab.disableServiceAccount(parameters.get('email') ?? '')
      return isKnown ? jsonAnswer(200, { disabled: true }) : refuse(404, 'No such account')
    }
    default:
      return refuse(404, `The lab knows no ${operation}`)
  }
}

/** What a provider of type `azure-openai` is told, for each of its sources. */
function azureKeys({ origin, azure, identityToken }: Lab): Readonly<Record<string, string>> {
  const { audience, subject } = azure.federation
  return {
    AZURE_AUTHORITY_HOST: origin,
    AZURE_OPENAI_ENDPOINT: `${origin}/azure`,
    AZURE_TENANT_ID: azure.tenantId,
    AZURE_CLIENT_ID: azure.clientId,
    AZURE_CLIENT_SECRET: azure.clientSecret.reveal(),
    AZURE_CLIENT_CERTIFICATE: azure.certificate().pem.reveal(),
    AZURE_OPENAI_API_KEY: azure.apiKey.reveal(),
    AZURE_FEDERATED_TOKEN: identityToken({ audience, subject }).reveal(),
    AZURE_POD_IDENTITY_AUTHORITY_HOST: origin,
    IDENTITY_ENDPOINT: `${origin}/msi/token`,
    IDENTITY_HEADER: azure.identityHeader.reveal(),
  }
}

function refuse(status: number, message: string, hint = ''): Answer {
  return jsonAnswer(status, { error: message, hint })
}

function filterOf(
  parameters: URLSearchParams,
  names: readonly string[],
): Readonly<Record<string, string>> {
  return Object.fromEntries([...parameters].filter(([name]) => names.includes(name)))
}

function statusOf(lab: Lab): unknown {
  const { calls, ...counts } = lab.counts()
  const byVendor = [...calls].map(([vendor, byStatus]) => [vendor, Object.fromEntries(byStatus)])
  return {
    origin: lab.origin,
    counts: { ...counts, calls: Object.fromEntries(byVendor) },
    tokens: lab.tokens().map(({ value: _, ...token }) => token),
    faults: lab.faults.list(),
  }
}

/** Sets all commands or, when one cannot be read, none. */
function setFaults(lab: Lab, request: Request): Answer {
  const [type = ''] = headerValues(request.headers, 'content-type')
  const text = new TextDecoder().decode(request.body)
  const command = type.startsWith('application/json') ? wordsOf(text) : text
  if (command === null) return refuse(400, 'A JSON body must be an array of words')
  try {
    lab.faults.set(command)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    return refuse(400, error.message, error.hint)
  }
  return jsonAnswer(200, lab.faults.list())
}

function wordsOf(json: string): readonly string[] | null {
  try {
    const value: unknown = JSON.parse(json)
    const isWords = Array.isArray(value) && value.every(word => typeof word === 'string')
    return isWords ? value : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}

function journalBody(lab: Lab, id: number): Answer {
  const body = lab.journal.entry(id)?.body ?? null
  if (body === null) return refuse(404, `The journal holds no body of call ${id}`)
  return { status: 200, headers: [['content-type', 'application/octet-stream']], body }
}

function journalPage(lab: Lab, parameters: URLSearchParams): unknown {
  const vendor = parameters.get('vendor')
  const after = Number(parameters.get('after') ?? 0)
  const limit = Number(parameters.get('limit') ?? JOURNAL_LIMIT_DEFAULT)
  const nameOf = credentialNames(lab)
  return lab.journal
    .entries()
    .filter(entry => entry.id > after && (vendor === null || entry.vendor === vendor))
    .slice(-Math.max(1, limit || JOURNAL_LIMIT_DEFAULT))
    .map(({ body: _, ...entry }) => ({ ...entry, headers: shownHeaders(entry, nameOf) }))
}

type CredentialNames = (credential: string) => string

/** The lab's own credentials by name; any other, by length and hash, as it may be a real one. */
function credentialNames(lab: Lab): CredentialNames {
  const names = new Map(lab.tokens().map(token => [token.value.reveal(), token.id]))
  names.set(lab.openaiKey().reveal(), 'openai key')
  names.set(lab.anthropicKey().reveal(), 'anthropic key')
  names.set(lab.azure.apiKey.reveal(), 'azure key')
  names.set(lab.aws.bedrockKey.reveal(), 'bedrock key')
  names.set(lab.aws.containerToken.reveal(), 'aws container token')
  names.set(lab.azure.identityHeader.reveal(), 'azure identity header')
  return credential => {
    const digest = createHash('sha256').update(credential).digest('hex')
    return `[${names.get(credential) ?? `unknown, ${credential.length} characters, sha256 ${digest}`}]`
  }
}

function shownHeaders(
  { headers }: Pick<JournalEntry, 'headers'>,
  nameOf: CredentialNames,
): readonly Header[] {
  return headers.map(([name, value]) => {
    if (!CREDENTIAL_HEADERS.includes(name)) return [name, value]
    const [, scheme = '', credential = ''] = /^(Bearer )?(.*)$/is.exec(value) ?? []
    return [name, scheme + nameOf(credential)]
  })
}
