import { AppError } from '../core/errors.ts'

const LABELS_MAX = 64
const KEY_CHARS_MAX = 317
const VALUE_CHARS_MAX = 63
const ANNOTATIONS_BYTES_MAX = 262_144

/** Kubernetes' rules for labels, which OpenShell takes over; no quotes, so that a selector can find them. */
const KEY = /^([a-z0-9]([a-z0-9.-]*[a-z0-9])?\/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/
const VALUE = /^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$/

/** Checks the labels of a request. */
export function checkLabels(labels: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  const entries = Object.entries(labels)
  if (entries.length > LABELS_MAX) {
    throw new AppError('invalid_argument', `There are at most ${LABELS_MAX} labels`)
  }
  for (const [key, value] of entries) checkLabel(key, value)
  return new Map(entries)
}

/** Checks the annotations of a request: their values are free. */
export function checkAnnotations(
  annotations: Readonly<Record<string, string>>,
): ReadonlyMap<string, string> {
  const entries = Object.entries(annotations)
  for (const [key] of entries) checkLabel(key, '')
  const bytes = entries.reduce((sum, pair) => sum + Buffer.byteLength(pair.join('')), 0)
  if (bytes <= ANNOTATIONS_BYTES_MAX) return new Map(entries)
  throw new AppError(
    'invalid_argument',
    `Annotations are longer than ${ANNOTATIONS_BYTES_MAX} bytes together`,
  )
}

/** Parses a selector: `KEY=VALUE` separated by commas, all of which must hold; '' selects everything. */
export function parseSelector(selector: string): ReadonlyMap<string, string> {
  const pairs = selector.split(',').filter(part => part.trim() !== '')
  const labels = new Map<string, string>()
  for (const pair of pairs) {
    const [key = '', value] = pair.split('=').map(part => part.trim())
    if (value === undefined || pair.split('=').length > 2 || labels.has(key)) {
      throw new AppError(
        'invalid_argument',
        'A label selector is KEY=VALUE, or several with commas',
      )
    }
    checkLabel(key, value)
    labels.set(key, value)
  }
  return labels
}

function checkLabel(key: string, value: string): void {
  if (key.length > KEY_CHARS_MAX || !KEY.test(key)) {
    throw new AppError('invalid_argument', `"${key.slice(0, 64)}" is not a label key`, {
      hint: 'Letters, digits, dots, dashes and underscores, with "PREFIX/" before them at will',
    })
  }
  if (value.length <= VALUE_CHARS_MAX && VALUE.test(value)) return
  throw new AppError('invalid_argument', `The value of label "${key}" is not valid`, {
    hint: `At most ${VALUE_CHARS_MAX} letters, digits, dots, dashes and underscores`,
  })
}
