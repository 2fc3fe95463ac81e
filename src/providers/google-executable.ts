import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { plainText } from '../oauth/plain-text.ts'
import { scrub } from '../oauth/scrub.ts'
import type { Input, InputIo, InputValue, Refused } from '../oauth/token-request.ts'
import type { GoogleFile } from './google-file.ts'
import { parseMembers, type SubjectTokenSetting, subjectRefusal } from './google-subject-text.ts'
import type { ProviderRules } from './provider-type.ts'

const TIMEOUT_MS_DEFAULT = 30_000
const TIMEOUT_MS_MIN = 5_000
const TIMEOUT_MS_MAX = 120_000
const OUTPUT_BYTES_MAX = 65_536

interface Program {
  readonly command: readonly string[]
  readonly environment: ReadonlyMap<string, string>
  readonly timeoutMs: number
  readonly tokenType: string
}

/**
 * The subject token that a program prints (AIP-4117). The file names the program, so it runs only
 * when the operator of the gateway allows it.
 *
 * @throws AppError `endpoint_forbidden` when the operator does not.
 */
export function executableSubjectToken(
  executable: GoogleFile,
  setting: SubjectTokenSetting,
  rules: ProviderRules,
): Input {
  if (!rules.mayExecute) {
    throw new AppError(
      'endpoint_forbidden',
      'The credential file names a program to run, which this gateway does not allow',
      {
        hint: 'To allow it, the operator starts the gateway with GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1',
      },
    )
  }
  const words = executable.text('command').match(/(?:[^\s"]+|"[^"]*")+/g) ?? []
  const command = words.map(word => word.replaceAll('"', ''))
  if (command[0]?.startsWith('/') !== true) {
    throw executable.refusal('"credential_source.executable.command" is no absolute path')
  }
  const timeoutMs = executable.raw('timeout_millis') ?? TIMEOUT_MS_DEFAULT
  const isTimeout = typeof timeoutMs === 'number' && timeoutMs >= TIMEOUT_MS_MIN
  if (!isTimeout || timeoutMs > TIMEOUT_MS_MAX) {
    throw executable.refusal(
      `"timeout_millis" is not between ${TIMEOUT_MS_MIN} and ${TIMEOUT_MS_MAX}`,
    )
  }
  const { audience, tokenType, impersonatedEmail } = setting
  const environment = new Map([
    ['GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE', audience],
    ['GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE', tokenType],
    ['GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE', '0'],
  ])
  if (impersonatedEmail !== '') {
    environment.set('GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL', impersonatedEmail)
  }
  const program: Program = { command, environment, timeoutMs, tokenType }
  return { kind: 'input', read: (io, signal) => readOutput(program, io, signal) }
}

async function readOutput(
  program: Program,
  io: InputIo,
  signal: AbortSignal,
): Promise<InputValue | Refused> {
  const deadline = new AbortController()
  const stopTimer = new AbortController()
  void io.clock.sleep(program.timeoutMs, stopTimer.signal).then(() => deadline.abort())
  try {
    const { code, stdout } = await io.execute({
      command: program.command,
      environment: program.environment,
      signal: AbortSignal.any([signal, deadline.signal]),
      outputBytesMax: OUTPUT_BYTES_MAX,
    })
    if (deadline.signal.aborted) {
      return subjectRefusal('T', `the program took more than ${program.timeoutMs / 1_000} s`)
    }
    if (code !== 0) return subjectRefusal('T', `the program ended with ${code ?? 'a signal'}`)
    return processOutput(program, stdout, io.vendorNowMs)
  } catch (error) {
    if (signal.aborted || !(error instanceof Error && 'code' in error)) throw error
    return subjectRefusal('P', `the program does not start: ${String(error.code)}`)
  } finally {
    stopTimer.abort()
  }
}

function processOutput(
  { tokenType }: Program,
  stdout: Uint8Array,
  nowMs: number,
): InputValue | Refused {
  const members = parseMembers(new TextDecoder().decode(stdout))
  if (members.get('version') !== 1 || typeof members.get('success') !== 'boolean') {
    return subjectRefusal('X', 'the program printed something else than version 1 of the answer')
  }
  const isSaml = tokenType.endsWith(':saml2')
  const token = members.get(isSaml ? 'saml_response' : 'id_token')
  if (members.get('success') === false) {
    const said = `${plainText(members.get('code'))}: ${plainText(members.get('message'))}`
    return subjectRefusal('Q', `the program refused, ${scrub(said, [])}`)
  }
  if (members.get('token_type') !== tokenType || typeof token !== 'string' || token === '') {
    return subjectRefusal('X', 'the program printed no token of the type that the file names')
  }
  const expiresAt = members.get('expiration_time')
  if (typeof expiresAt === 'number' && expiresAt * 1_000 <= nowMs) {
    return subjectRefusal('S', 'the program printed a token that is past its end')
  }
  return { kind: 'value', value: new Secret(token) }
}
