import path from 'node:path'
import type { Option } from 'commander'
import { Secret } from '../core/secret.ts'
import { flag } from './command.ts'
import { stateDirectory } from './settings.ts'
import type { Terminal } from './terminal.ts'
import type { UsageCheck } from './usage.ts'

/** The flags that say where the store is, and the keys to it. */
export interface StorePlaceFlags {
  readonly store?: string
  readonly stateDir?: string
  readonly masterKeyFile?: string
}

/** Declares {@link StorePlaceFlags}. */
export function storePlaceFlags(): readonly Option[] {
  return [
    flag('--store <url>', 'sqlite:PATH or postgres://… (default: a file in the state directory)'),
    flag('--state-dir <dir>', 'database, master key and admin token (default: per user)'),
    flag('--master-key-file <file>', 'keys that open the secrets, 32 bytes in base64 a line'),
  ]
}

/** Reads the flags; `OPENSHELL_STORE` and `OPENSHELL_MASTER_KEY` stand in for those that are not given. */
export function readStorePlace(flags: StorePlaceFlags, terminal: Terminal, check: UsageCheck) {
  const { env } = terminal
  const masterKeyText = env.OPENSHELL_MASTER_KEY ?? ''
  return {
    store: readStore(flags.store ?? env.OPENSHELL_STORE ?? '', check),
    stateDir:
      flags.stateDir === undefined ? stateDirectory(terminal) : path.resolve(flags.stateDir),
    masterKeyFile: flags.masterKeyFile ?? null,
    // The flag is the nearer one; a key in the environment may be meant for another gateway.
    masterKey:
      flags.masterKeyFile === undefined && masterKeyText !== '' ? new Secret(masterKeyText) : null,
  } as const
}

function readStore(text: string, check: UsageCheck): string | null {
  if (text === '') return null
  // A PostgreSQL URL may carry a password, so a wrong one is not repeated.
  if (!/^(sqlite:.|postgres(ql)?:\/\/.)/.test(text)) {
    check.add('--store takes sqlite:PATH or postgres://…')
  }
  return text
}
