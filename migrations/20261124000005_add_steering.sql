-- A message that is to be handed to a running turn waits like any other, and says which turn it steers.
ALTER TABLE turns ADD COLUMN steers uuid REFERENCES turns ON DELETE SET NULL;
CREATE INDEX turns_by_steered ON turns (steers) WHERE steers IS NOT NULL;
