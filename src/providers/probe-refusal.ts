/** What an API said instead of an answer. */
export interface VendorRefusal {
  /** The vendor's own code, the most telling that it gave; '' without one. */
  readonly code: string
  /** The vendor's own words; '' without any. */
  readonly message: string
}

type Fields = Readonly<Record<string, unknown>>

/**
 * Reads the error that a JSON body carries, in whichever of the common forms: `error` as an object
 * with `details[].reason`, `code`, `status` or `type`; `error` and `error_description`; a list of
 * `errors`; bare `code` or `__type` beside `message`. A JSON body without one has empty members;
 * null when it is no JSON object.
 */
export function readRefusal(text: string): VendorRefusal | null {
  const body = parseFields(text)
  if (body === null) return null
  const listed = Array.isArray(body.errors) ? fieldsOf(body.errors[0]) : {}
  const error = { ...listed, ...fieldsOf(body.error) }
  const reason = Array.isArray(error.details)
    ? error.details.map(detail => textOf(fieldsOf(detail).reason)).find(one => one !== '')
    : undefined
  const codes = [
    reason,
    ...[error.code, error.type, error.status],
    ...[body.error, body.code, body.__type, body.type],
  ]
  return {
    code: codes.map(textOf).find(isTelling) ?? '',
    message:
      [error.message, body.error_description, body.message, body.detail]
        .map(textOf)
        .find(one => one !== '') ?? '',
  }
}

/** A number only repeats the status. */
function isTelling(code: string): boolean {
  return code !== '' && !/^\d+$/.test(code)
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : {}
}

function parseFields(text: string): Fields | null {
  try {
    const value: unknown = JSON.parse(text)
    // Some APIs wrap the one error in a list.
    const whole = Array.isArray(value) ? value[0] : value
    return typeof whole === 'object' && whole !== null ? fieldsOf(whole) : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
