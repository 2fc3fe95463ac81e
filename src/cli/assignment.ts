import { readFileSync } from 'node:fs'
import type { Option } from 'commander'
import { Secret } from '../core/secret.ts'
import { flag, repeatedFlag } from './command.ts'
import type { Terminal } from './terminal.ts'
import type { UsageCheck } from './usage.ts'

/** A key file larger than this is not one. */
const CREDENTIAL_FILE_BYTES_MAX = 65_536

/** The flags that carry a provider's credentials and configuration. */
export function credentialFlags(): readonly Option[] {
  return [
    repeatedFlag('--credential <key[=value]>', 'a credential; KEY alone reads the environment'),
    repeatedFlag('--credential-file <key=path>', 'a credential that is the content of a file'),
    repeatedFlag('--config <key=value>', 'a setting that is no secret'),
    flag('--no-verify', 'store it even if the vendor refuses'),
  ]
}

/** {@link credentialFlags} as commander stores them. */
export interface CredentialOptions {
  readonly credential?: readonly string[]
  readonly credentialFile?: readonly string[]
  readonly config?: readonly string[]
  readonly verify: boolean
}

/** What those flags say. */
export interface ProviderInput {
  readonly credentials: ReadonlyMap<string, Secret>
  readonly config: ReadonlyMap<string, string>
}

/**
 * Reads credentials and configuration from the flags, the environment and files. What is wrong is
 * noted in `check`, never with a value in it. An empty value, which takes a key away, is accepted
 * for `KEY=` alone and only if `mayBeEmpty`.
 */
export function readProviderInput(
  options: CredentialOptions,
  terminal: Terminal,
  rules: { readonly check: UsageCheck; readonly mayBeEmpty: boolean },
): ProviderInput {
  const { check, mayBeEmpty } = rules
  const credentials = new Map<string, Secret>()
  const config = new Map<string, string>()
  const put = <T>(into: Map<string, T>, label: string, key: string, value: T) => {
    if (into.has(key)) check.add(`${label} gives ${key} twice`)
    into.set(key, value)
  }
  for (const text of options.credential ?? []) {
    const { key, value } = split(text)
    const fromEnvironment = value === null
    const secret = new Secret(value ?? terminal.env[key] ?? '')
    if (key === '') check.add('--credential takes KEY=VALUE, or KEY to read the environment')
    else if (secret.isEmpty && fromEnvironment) check.add(emptyVariable(key))
    else if (secret.isEmpty && !mayBeEmpty) check.add(`--credential gives ${key} no value`)
    else put(credentials, '--credential', key, secret)
  }
  for (const text of options.credentialFile ?? []) {
    const { key, value } = split(text)
    if (key === '' || value === null || value === '') {
      check.add('--credential-file takes KEY=PATH')
    } else {
      const secret = readCredentialFile(value, { label: '--credential-file', check })
      if (secret !== null) put(credentials, '--credential-file', key, secret)
    }
  }
  for (const text of options.config ?? []) {
    const { key, value } = split(text)
    if (key === '' || value === null) check.add('--config takes KEY=VALUE')
    else if (value === '' && !mayBeEmpty) check.add(`--config gives ${key} no value`)
    else put(config, '--config', key, value)
  }
  return { credentials, config }
}

/** The flags that carry the material of a configured refresh, as commander stores them. */
export interface MaterialOptions {
  readonly material?: readonly string[]
  readonly secretMaterialEnv?: readonly string[]
  readonly secretMaterialFile?: readonly string[]
  readonly secretMaterialKey?: readonly string[]
}

/** What those flags say. */
export interface MaterialInput {
  readonly material: ReadonlyMap<string, Secret>
  /** The names of those that are secrets. */
  readonly secrets: ReadonlySet<string>
}

/** Reads material as {@link readProviderInput} reads credentials; a name is given once. */
export function readMaterial(
  options: MaterialOptions,
  terminal: Terminal,
  check: UsageCheck,
): MaterialInput {
  const material = new Map<string, Secret>()
  const secrets = new Set(options.secretMaterialKey)
  const put = (label: string, key: string, secret: Secret): void => {
    if (material.has(key)) check.add(`${label} gives ${key} a second time`)
    material.set(key, secret)
  }
  for (const text of options.material ?? []) {
    const { key, value } = split(text)
    if (key === '' || value === null || value === '') check.add('--material takes KEY=VALUE')
    else put('--material', key, new Secret(value))
  }
  for (const text of options.secretMaterialEnv ?? []) {
    const { key, value } = split(text)
    const secret = new Secret(terminal.env[value ?? key] ?? '')
    if (key === '') check.add('--secret-material-env takes KEY or KEY=VARIABLE')
    else if (secret.isEmpty) check.add(`--secret-material-env finds no value for ${key}`)
    else put('--secret-material-env', key, secret)
    secrets.add(key)
  }
  for (const text of options.secretMaterialFile ?? []) {
    const { key, value } = split(text)
    const label = '--secret-material-file'
    if (key === '' || value === null || value === '') check.add(`${label} takes KEY=PATH`)
    else {
      const secret = readCredentialFile(value, { label, check })
      if (secret !== null) put(label, key, secret)
    }
    secrets.add(key)
  }
  for (const key of options.secretMaterialKey ?? []) {
    if (!material.has(key)) check.add(`--secret-material-key names ${key}, which is not given`)
  }
  return { material, secrets }
}

/** Cuts at the first `=`; the key is '' when there is none that could be one. */
function split(text: string): { readonly key: string; readonly value: string | null } {
  const match = /^([A-Za-z_][A-Za-z0-9_.-]{0,255})(?:=([\s\S]*))?$/.exec(text)
  return { key: match?.[1] ?? '', value: match?.[2] ?? null }
}

/** A key that was given without its name would stand here, so only what looks like a name does. */
function emptyVariable(key: string): string {
  return /^[A-Z][A-Z0-9_]{0,63}$/.test(key)
    ? `--credential ${key} reads the environment, where it is not set or empty`
    : '--credential without "=" reads a variable of the environment, and there is none of that name'
}

/** The content of a key file; null when it cannot be read, which is noted under `label`. */
export function readCredentialFile(
  file: string,
  { label, check }: { readonly label: string; readonly check: UsageCheck },
): Secret | null {
  try {
    const bytes = readFileSync(file)
    if (bytes.length === 0) check.add(`${label} "${file}" is empty`)
    if (bytes.length > CREDENTIAL_FILE_BYTES_MAX) {
      check.add(`${label} "${file}" is larger than ${CREDENTIAL_FILE_BYTES_MAX} bytes`)
    }
    // Editors end a file with a newline, which no key has.
    return new Secret(bytes.toString('utf8').replace(/[\r\n]+$/, ''))
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'not readable'
    check.add(`${label} cannot read "${file}" (${code})`)
    return null
  }
}
