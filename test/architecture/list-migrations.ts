// Prints the steps of the schema, for released-migrations.json.
import { allMigrations } from '../../server/compose.ts';
import { storageMigrations } from '../../server/storage/schema.ts';
import { listSteps } from './released-migrations.ts';

console.log(JSON.stringify(listSteps([storageMigrations, ...allMigrations]), undefined, 2));
