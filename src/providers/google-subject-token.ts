import { checkEndpoint } from '../core/endpoint.ts'
import { Secret } from '../core/secret.ts'
import { textOfFile, tokenOf } from '../oauth/mint.ts'
import type {
  Input,
  InputValue,
  Refused,
  RequestValue,
  TokenRequest,
} from '../oauth/token-request.ts'
import { awsSubjectToken } from './google-aws-subject.ts'
import { executableSubjectToken } from './google-executable.ts'
import type { GoogleFile } from './google-file.ts'
import {
  parseMembers,
  plainTextRequest,
  type SubjectTokenSetting,
  subjectRefusal,
} from './google-subject-text.ts'
import type { ProviderRules } from './provider-type.ts'

const URL_TIMEOUT_MS = 3_000

/**
 * Where the subject token of an `external_account` file comes from (AIP-4117): a file, a URL, the AWS
 * machine that the gateway runs on, or a program. It is read anew for each exchange.
 *
 * @throws AppError when the operator does not allow the place that the file names.
 */
export function subjectToken(
  file: GoogleFile,
  setting: SubjectTokenSetting,
  rules: ProviderRules,
): Input {
  const source = file.object('credential_source')
  if (source === null) throw file.refusal('the field "credential_source" is missing')
  if (source.raw('environment_id') !== undefined) {
    return awsSubjectToken(source, setting.audience, rules)
  }
  const executable = source.object('executable')
  if (executable !== null) return executableSubjectToken(executable, setting, rules)
  if (source.optionalText('file') !== '') {
    const path = source.text('file')
    if (!path.startsWith('/')) throw file.refusal('"credential_source.file" is no absolute path')
    return withFormat(textOfFile(path, rules.subjectTokenDirs), readFormat(source))
  }
  if (source.optionalText('url') !== '') {
    return withFormat(tokenOf(urlRequest(source, rules)), readFormat(source))
  }
  throw file.refusal('"credential_source" names neither file, url, executable nor environment_id')
}

function urlRequest(source: GoogleFile, rules: ProviderRules): TokenRequest {
  const url = checkEndpoint(source.text('url'), {
    label: 'The "credential_source.url" of the credential file',
    vendorHosts: [],
    allowList: rules.allowList,
  })
  const given = Object.entries(source.raw('headers') ?? {})
  const headers = given.map(([name, value]): readonly [string, RequestValue] => {
    const isHeader = /^[\w-]+$/.test(name) && /^[\x20-\x7e]*$/.test(String(value))
    if (!isHeader) throw source.refusal('"credential_source.headers" cannot be sent')
    return [name.toLowerCase(), new Secret(String(value))]
  })
  return plainTextRequest(url, {
    method: 'GET',
    headers: new Map(headers),
    timeoutMs: URL_TIMEOUT_MS,
  })
}

/** The member that holds the token; '' when the whole text is the token. */
function readFormat(source: GoogleFile): string {
  const format = source.object('format')
  const type = format?.optionalText('type') ?? ''
  if (format === null || type === 'text' || type === '') return ''
  if (type === 'json') return format.text('subject_token_field_name')
  throw source.refusal('"credential_source.format.type" is neither "text" nor "json"')
}

function withFormat(input: Input, member: string): Input {
  if (member === '') return input
  return {
    kind: 'input',
    async read(io, signal) {
      const text = await input.read(io, signal)
      return text.kind === 'failed' ? text : memberOf(text.value, member)
    },
  }
}

function memberOf(json: Secret, member: string): InputValue | Refused {
  const value = parseMembers(json.reveal()).get(member)
  if (typeof value === 'string' && value !== '') return { kind: 'value', value: new Secret(value) }
  // Whoever writes the file may be in the middle of it.
  return subjectRefusal('S', `it is no JSON object with a text "${member}"`)
}
