import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { Failure } from '../core/failure.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { ProviderType } from '../providers/provider-type.ts'
import { unknownKeys } from './validate.ts'

/** What came of a person's wish for a provider. */
export interface ProviderReceipt {
  readonly provider: ProviderRecord
  /** The refreshed credential; null for a static key. */
  readonly credential: Credential | null
  /** Something that the person should know; '' when all is well. */
  readonly warning: string
}

/** The receipt, with what a person should know of it. */
export function receiptOf(
  type: ProviderType,
  provider: ProviderRecord,
  credential: Credential | null,
): ProviderReceipt {
  return { provider, credential, warning: warningOf(type, provider, credential) }
}

function warningOf(
  type: ProviderType,
  provider: ProviderRecord,
  credential: Credential | null,
): string {
  const untried = provider.candidate === null ? null : (credential?.candidateFailure ?? null)
  if (untried !== null) {
    return `The new credential is not in use yet, the standing one is kept until it is: ${inWords(untried)}`
  }
  if (credential !== null && credential.failure !== null) {
    const what = credential.token === null ? 'No token yet' : 'The old token serves on'
    return `${what}: ${inWords(credential.failure)}`
  }
  const isBare = credential === null && provider.material.size === 0
  if (isBare && type.credentialKeys.length > 0) {
    return `There is no credential yet: add one, or configure its refresh with 'openshell provider refresh configure ${provider.name}'`
  }
  const keys = unknownKeys(type, {
    // A static key may stand under any name: tools export it under their own.
    material: credential === null ? [] : provider.material.keys(),
    config: provider.config.keys(),
  })
  return keys.length === 0 ? '' : `Type "${type.type}" does not use ${keys.join(', ')}`
}

function inWords({ message, code, advice }: Failure): string {
  return `${message} (${code}). ${advice}`
}

/** The error for a name that another provider has. */
export function taken(name: string): AppError {
  return new AppError('already_exists', `Provider "${name}" exists already`, {
    hint: `Change it with 'openshell provider update ${name}', or choose another name`,
  })
}

/** The error for a change that someone else's overtook. */
export function changed(name: string): AppError {
  return new AppError(
    'version_conflict',
    `Provider "${name}" was changed by someone else meanwhile`,
    {
      hint: 'Look at it again and repeat the change',
    },
  )
}
