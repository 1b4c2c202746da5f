pub struct Connection;
pub struct Builder;
