import type { VendorError } from './answer.ts'
import { type JsonObject, objectsIn } from './json.ts'

/** An error of IBM's services: a list of errors with a trace, or the older form of IAM. */
export function readIbmError(body: JsonObject): VendorError | null {
  const [first] = objectsIn(body.errors)
  const said = first ?? { code: body.errorCode, message: body.errorMessage }
  if (typeof said.message !== 'string') return null
  const trace = typeof body.trace === 'string' ? ` (trace ${body.trace})` : ''
  return { code: typeof said.code === 'string' ? said.code : '', message: said.message + trace }
}
