import type { ProviderRules } from '../../src/providers/provider-type.ts'
import type { Execute } from '../../src/system/execute.ts'
import type { Files } from '../../src/system/files.ts'

/** What an operator allows who was told nothing. */
export function rulesOf(allowList: readonly string[] = []): ProviderRules {
  return { allowList, subjectTokenDirs: [], mayExecute: false }
}

/** A disk without a file. */
export const noFiles: Files = {
  realPath: path => Promise.reject(Object.assign(new Error(`no file ${path}`), { code: 'ENOENT' })),
  read: path => Promise.reject(Object.assign(new Error(`no file ${path}`), { code: 'ENOENT' })),
}

/** A machine without a program. */
export const noExecute: Execute = ({ command }) =>
  Promise.reject(Object.assign(new Error(`no program ${command[0]}`), { code: 'ENOENT' }))
