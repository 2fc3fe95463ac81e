import { createHash } from 'node:crypto'
import { AppError } from '../core/errors.ts'
import { type Answer, type Call, jsonAnswer, textAnswer } from './call.ts'
import { type Header, headerValues } from './header.ts'
import type { JournalEntry } from './journal.ts'
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
    case 'GET keys':
      return jsonAnswer(200, {
        openai: lab.openaiKey().reveal(),
        anthropic: lab.anthropicKey().reveal(),
      })
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
