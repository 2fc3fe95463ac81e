import { AppError } from '../core/errors.ts'

/**
 * Runs a piece of database work; trouble of the database comes out as `store_unavailable` that names
 * the database. A programmer's error stays what it is.
 */
export async function orStoreUnavailable<T>(location: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof AppError || isProgrammersError(error)) throw error
    const message = `Cannot use the database "${location}": ${reasonOf(error)}`
    throw new AppError('store_unavailable', message, { cause: error })
  }
}

/** A stored value that nobody wrote this way. */
export function damagedRow(what: string, cause?: unknown): AppError {
  const message = `Cannot read ${what} from the database: it is damaged`
  return new AppError('store_unavailable', message, { cause })
}

function isProgrammersError(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError
}

/** The driver's own words. They hold no secret, because secrets are sealed before they get there. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.message !== '') return error.message
  return 'code' in error ? String(error.code) : error.name
}
