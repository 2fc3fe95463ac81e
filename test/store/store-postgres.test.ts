// Goal: the Store keeps its promises on every database. Method: one suite; each test has a database of its own.
import { postgres } from './databases.ts'
import { storeSuite } from './store-suite.ts'

storeSuite(postgres)
