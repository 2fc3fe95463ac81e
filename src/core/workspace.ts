/** The workspace that always exists. */
export const DEFAULT_WORKSPACE = 'default'

/** A room of its own for providers, routes and sandboxes. */
export interface WorkspaceRecord {
  readonly id: string
  readonly name: string
  readonly labels: ReadonlyMap<string, string>
  /** 0 for one that is as old as the store. */
  readonly createdAtMs: number
  /** Starts at 1. */
  readonly version: number
}

/** What a member may do in a workspace. */
export type MemberRole = 'user' | 'admin'

/** Who belongs to a workspace, by the name that an identity provider gives. */
export interface WorkspaceMember {
  readonly id: string
  readonly workspace: string
  readonly subject: string
  readonly role: MemberRole
  readonly createdAtMs: number
}
